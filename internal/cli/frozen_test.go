package cli_test

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/storetest"
)

// TestKeyset_Frozen stops a node that seals with the old key, as a machine without memory does, prunes without it, and
// lets it go on: it seals nothing, neither for those who waited nor for those who come then, and ends with what to do.
func TestKeyset_Frozen(t *testing.T) {
	t.Parallel()
	r := &rotation{db: storetest.New(t), dir: t.TempDir()}
	do := func(command string) string {
		t.Helper()
		printed, said, err := r.run(t, command)
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, said)
		}
		return strings.TrimSpace(printed)
	}
	do("tributary keyset new > first")
	do("TRIBUTARY_KEYSET_FILE=first tributary keyset rotate > rotated")
	do(`TRIBUTARY_KEYSET_FILE=rotated TRIBUTARY_OWNER_DATABASE_URL="$OWNER" tributary keyset promote > keyset`)
	r.key = do(`TRIBUTARY_OWNER_DATABASE_URL="$OWNER" tributary key create --operator --name test`)
	frozen, said := r.serve(t, "rotated")
	if frozen == nil {
		t.Fatal(said)
	}
	r.ask(t, 201, frozen, "POST", "/v1/tenants", map[string]any{"slug": "acme", "name": "acme"})
	beside, said := r.serve(t, "keyset")
	if beside == nil {
		t.Fatal(said)
	}
	must(t, frozen.cmd.Process.Signal(syscall.SIGSTOP))
	woken := false
	defer func() {
		if !woken {
			_ = frozen.cmd.Process.Signal(syscall.SIGCONT)
		}
	}()

	const before = 8
	answers := make(chan int, before)
	for range before { // they wait in its socket
		go func() { answers <- makeEndpoint(t, r, frozen) }()
	}
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for storetest.Value[int](t, r.db, `SELECT count(*) FROM tributary.nodes WHERE beat_at > now() - interval '10 seconds'`) > 1 {
		<-look.C
	}
	do(`TRIBUTARY_OWNER_DATABASE_URL="$OWNER" tributary keyset prune > pruned`)
	must(t, frozen.cmd.Process.Signal(syscall.SIGCONT))
	woken = true
	for range before {
		if status := <-answers; status == http.StatusCreated {
			t.Error("it has sealed for one that waited")
		}
	}
	var end string
	for end == "" {
		if status := makeEndpoint(t, r, frozen); status == http.StatusCreated {
			t.Error("it has sealed after it woke up")
		}
		select {
		case end = <-frozen.said:
		case <-look.C:
		}
	}
	if err := frozen.cmd.Wait(); err == nil || !strings.Contains(end, "which `tributary keyset prune` has retired: use the keyset that prune printed") {
		t.Errorf("it ended: %v, and said %s", err, end)
	}
	if n := storetest.Value[int](t, r.db, `SELECT count(*) FROM tributary.endpoints`); n != 0 {
		t.Errorf("%d endpoints", n)
	}
	if again, said := r.serve(t, "rotated"); again != nil || !strings.Contains(said, "has retired") {
		t.Errorf("started again with the keyset of before: %s", said)
	}
	if _, said := r.serve(t, "pruned"); said != "" {
		t.Errorf("with the one that prune printed: %s", said)
	}
}

// makeEndpoint asks for an endpoint and gives the answer's status, 0 where there is none.
func makeEndpoint(t *testing.T, r *rotation, n *node) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url+"/v1/tenants/acme/endpoints",
		strings.NewReader(`{"name":"slack","provider":"slack","secret":"`+slackSecret+`"}`))
	if err != nil {
		t.Error(err)
		return 0
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+r.key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}
