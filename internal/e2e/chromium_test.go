package e2e_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/logtest"
)

// A chromium is a real browser without a screen, driven through a pipe by its DevTools protocol: it listens nowhere.
type chromium struct {
	in *os.File

	mu     sync.Mutex // guards what follows
	number int
	asked  map[int]chan devtools // by number
	said   map[string][]string   // complaints, by session
	ended  bool
}

// A devtools message is a command, its answer, or an event.
type devtools struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"` //nolint:tagliatelle // as the protocol has it
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// startChromium starts a browser with a profile of its own, and ends it with the test.
func startChromium(t *testing.T) *chromium {
	t.Helper()
	toBrowser, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, fromBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log := &logtest.Buffer{}
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "--ignore-certificate-errors", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-background-timer-throttling",
		"--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding", "about:blank")
	cmd.ExtraFiles = []*os.File{toBrowser, fromBrowser} // its descriptors 3 and 4
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	_ = toBrowser.Close()
	_ = fromBrowser.Close()
	c := &chromium{in: in, asked: map[int]chan devtools{}, said: map[string][]string{}}
	var reading sync.WaitGroup
	reading.Go(func() { c.read(out) })
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with all the processes it is made of
		_ = cmd.Wait()
		_ = in.Close()
		reading.Wait()
		_ = out.Close()
		if t.Failed() {
			t.Logf("chromium said:\n%s", log.Tail(4000))
		}
	})
	return c
}

// read takes what the browser says, until it ends: answers to those who asked, and complaints.
func (c *chromium) read(out *os.File) {
	reader := bufio.NewReader(out)
	for {
		line, err := reader.ReadBytes(0)
		if err != nil {
			break
		}
		var m devtools
		if json.Unmarshal(line[:len(line)-1], &m) != nil {
			continue
		}
		c.mu.Lock()
		switch m.Method {
		case "":
			if waits, ok := c.asked[m.ID]; ok {
				waits <- m
				delete(c.asked, m.ID)
			}
		case "Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled":
			c.said[m.SessionID] = append(c.said[m.SessionID], string(m.Params))
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, waits := range c.asked {
		close(waits)
	}
}

// call gives a command to a tab, or where session is empty to the browser, and decodes its answer.
func (c *chromium) call(t *testing.T, session, method string, params map[string]any, into any) {
	t.Helper()
	waits := make(chan devtools, 1)
	c.mu.Lock()
	c.number++
	number := c.number
	if c.ended {
		close(waits)
	} else {
		c.asked[number] = waits
	}
	raw, err := json.Marshal(params)
	if err != nil {
		t.Error(err)
	}
	command, err := json.Marshal(devtools{ID: number, SessionID: session, Method: method, Params: raw})
	if err != nil {
		t.Error(err)
	}
	_, err = c.in.Write(append(command, 0))
	c.mu.Unlock()
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	select {
	case answer, ok := <-waits:
		if !ok {
			t.Fatalf("%s: the browser ended", method)
		}
		if answer.Error != nil {
			t.Fatalf("%s: %s", method, answer.Error.Message)
		}
		if into != nil {
			if err := json.Unmarshal(answer.Result, into); err != nil {
				t.Fatalf("%s: %v: %s", method, err, answer.Result)
			}
		}
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s: no answer in two minutes", method)
	}
}

// A tab is one page.
type tab struct {
	c       *chromium
	session string
}

// open opens a page in a window of its own, so that none is hidden behind another, and waits until it has loaded.
func (c *chromium) open(t *testing.T, url string) *tab {
	t.Helper()
	var target struct{ TargetID string }
	c.call(t, "", "Target.createTarget", map[string]any{"url": "about:blank", "newWindow": true}, &target)
	var attached struct{ SessionID string }
	c.call(t, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &tab{c: c, session: attached.SessionID}
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		c.call(t, p.session, domain+".enable", map[string]any{}, nil)
	}
	var navigated struct{ ErrorText string }
	c.call(t, p.session, "Page.navigate", map[string]any{"url": url}, &navigated)
	if navigated.ErrorText != "" {
		t.Fatalf("%s: %s", url, navigated.ErrorText)
	}
	p.evaluate(t, `new Promise((done) => { if (document.readyState === 'complete') done(''); else addEventListener('load', () => done('')); })`)
	return p
}

// evaluate runs an expression in the page and gives the text that it, or its promise, comes to.
func (p *tab) evaluate(t *testing.T, expression string) string {
	t.Helper()
	var answer struct {
		Result           struct{ Value string }
		ExceptionDetails *struct{ Text string }
	}
	p.c.call(t, p.session, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		t.Fatalf("%s: %s", answer.ExceptionDetails.Text, expression)
	}
	return answer.Result.Value
}

// complaints are what the browser had to say of the page: what its policy forbids, failed loads, exceptions.
func (p *tab) complaints() []string {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return append([]string(nil), p.c.said[p.session]...)
}

// screenshot writes what the page looks like, whole.
func (p *tab) screenshot(t *testing.T, name string) {
	t.Helper()
	var shot struct{ Data string }
	p.c.call(t, p.session, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot)
	picture, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, picture, 0o600); err != nil {
		t.Fatal(err)
	}
}
