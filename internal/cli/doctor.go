package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/tributary-hub/tributary/internal/app"
	"github.com/tributary-hub/tributary/internal/config"
)

type doctorCommand struct {
	Ready bool `help:"Ask the process that runs here, at its operator's port, whether it is ready, and nothing else: for health checks."`
	JSON  bool `name:"json" help:"Print as JSON."`
}

// Help is shown below the flags.
func (doctorCommand) Help() string {
	return `Checks all that serve checks before it starts, and more that it could live with, each with its remedy. It needs the environment of serve and changes nothing. Exit code 1 where serve would refuse, or with --ready where the process is not ready.`
}

// readyTime bounds the answer of the operator's port, which gives its own checks 2 s.
const readyTime = 4 * time.Second

func (d doctorCommand) Run(ctx context.Context, env Env) error {
	c, err := env.service()
	problems, understood := errors.AsType[config.Problems](err)
	if err != nil && !understood {
		return err
	}
	if d.Ready {
		return ready(ctx, env, c, d.JSON)
	}
	var findings []app.Finding
	for _, problem := range problems {
		findings = append(findings, app.Finding{
			Check: "environment", State: app.Failed, Detail: problem, Remedy: "mend or unset it; /docs/configuration of a hub lists what there is",
		})
	}
	findings = append(findings, app.Examine(ctx, c, problems)...)
	if d.JSON {
		err = json.NewEncoder(env.Stdout).Encode(findings)
	} else {
		err = printFindings(env.Stdout, findings)
	}
	if refused := app.Refused(findings); err == nil && refused != nil {
		err = errors.New("serve would refuse to start")
	}
	return err
}

func printFindings(out io.Writer, findings []app.Finding) error {
	for _, f := range findings {
		line := fmt.Sprintf("%-8s %s", f.State, f.Check)
		if f.Detail != "" {
			line += ": " + f.Detail
		}
		if f.Remedy != "" {
			line += "\n         " + f.Remedy
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

// A failedCheck is one of the answer of /healthz/ready.
type failedCheck struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

// ready asks the operator's port of this machine.
func ready(ctx context.Context, env Env, c config.Config, raw bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+localAddress(c.OpsListen)+"/healthz/ready", nil)
	if err != nil {
		return fmt.Errorf("ask the operator's port: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{}} // no proxy stands between a process and its own machine
	response, err := client.Do(request)
	if err != nil {
		err = fmt.Errorf("no process answers at %s: %w", request.URL.Host, cause(err))
		if raw {
			err = errors.Join(err, json.NewEncoder(env.Stdout).Encode(map[string]string{"status": "unreachable"}))
		}
		return err
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if raw {
		if _, err := env.Stdout.Write(body); err != nil {
			return err
		}
	}
	var answer struct {
		Status string        `json:"status"`
		Checks []failedCheck `json:"checks"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Status == "" {
		return fmt.Errorf("what answers at %s is no operator's port of a hub", request.URL.Host)
	}
	if response.StatusCode == http.StatusOK && answer.Status == "ready" {
		return nil
	}
	errs := []error{errors.New("not ready")}
	for _, check := range answer.Checks {
		errs = append(errs, fmt.Errorf("  %s: %s", check.Name, check.Error))
	}
	return errors.Join(errs...)
}

// localAddress is where this machine reaches what listens there: a listener on all addresses is asked on loopback.
func localAddress(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
