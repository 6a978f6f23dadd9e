package dev_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/dev"
	"github.com/tributary-hub/tributary/internal/provider"
)

// Every indented line that begins with a program is what a shell can run: the words come out as they are meant.
func TestNext_CanBePasted(t *testing.T) {
	t.Parallel()
	file := dev.File{URL: "http://127.0.0.1:8080", Tenant: "demo", TenantKey: "trb_key"}
	for _, tt := range []struct{ name, command, dir, program string }{
		{"the build, at home", "./bin/tributary", ".tributary", "./bin/tributary"},
		{"a folder with a quote", "tributary", "/tmp/it's here", "tributary"},
		{"a program with a space", "/opt/my tools/tributary", "./.tributary/", "/opt/my tools/tributary"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lines := commands(t, tt.command, tt.dir, file)
			if len(lines) != 4 {
				t.Fatalf("%d lines to paste:\n%s", len(lines), strings.Join(lines, "\n"))
			}
			// A function stands for each program and prints its words; what a substitution gives is one word.
			script := `show() { echo "[$TRIBUTARY_DATA_DIR]" "$@" | tr '\n' ' '; echo; }
curl() { show curl "$@"; }
` + lines[1]
			script = strings.ReplaceAll(script, dev.Quote(tt.command)+" send", "show send")
			if got, want := shell(t, script), "[] send stripe payment_intent.succeeded"; tt.dir != "/tmp/it's here" && got != want {
				t.Errorf("send: %q, want %q", got, want)
			} else if tt.dir == "/tmp/it's here" && got != "[/tmp/it's here] send stripe payment_intent.succeeded" {
				t.Errorf("send: %q", got)
			}
		})
	}
}

func TestNext_RouteIsJSON(t *testing.T) {
	t.Parallel()
	lines := commands(t, "tributary", ".tributary", dev.File{URL: "http://127.0.0.1:8080", Tenant: "demo", TenantKey: "trb_key"})
	words := strings.Split(shell(t, `curl() { printf '%s\n' "$@"; }
`+lines[2]), "\n")
	want := []string{
		"-X", "PUT", "-H", "Authorization: Bearer trb_key", "-H", "Content-Type: application/json", "-d",
		`{"name":"payments","match":"event.type == 'payment_intent.succeeded'","channels":["customer:{event.body.data.object.customer}"],"type":"payment_success","data":"{'amount': event.body.data.object.amount}"}`,
		"http://127.0.0.1:8080/v1/tenants/demo/routes/payments",
	}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
	if !json.Valid([]byte(words[7])) {
		t.Errorf("not JSON: %s", words[7])
	}
}

// The customer that the last line watches is the one of the sample that the second line sends.
func TestNext_Customer(t *testing.T) {
	t.Parallel()
	body, _, err := provider.Sample("stripe", "payment_intent.succeeded", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var event struct {
		Data struct {
			Object struct {
				Customer string `json:"customer"`
			} `json:"object"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		t.Fatal(err)
	}
	last := commands(t, "tributary", ".tributary", dev.File{})[3]
	if customer := event.Data.Object.Customer; customer == "" || !strings.Contains(last, "claim customer="+customer) || !strings.Contains(last, "channel=customer:"+customer) {
		t.Errorf("the sample's customer is %q, and the line %s", customer, last)
	}
}

// commands are the lines to paste: those that are indented and are not the table above them.
func commands(t *testing.T, command, dir string, file dev.File) []string {
	t.Helper()
	var out strings.Builder
	if err := dev.WriteNext(&out, command, dir, dir, file); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		if rest, indented := strings.CutPrefix(line, "   "); indented {
			lines = append(lines, strings.TrimSuffix(rest, "\n"))
		}
	}
	return lines
}

func shell(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("sh: %v\n%s\n%s", err, script, out)
	}
	return strings.TrimSpace(string(out))
}
