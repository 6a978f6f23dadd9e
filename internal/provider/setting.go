package provider

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Setting is one name that an endpoint's configuration may have.
type Setting struct {
	Name     string
	About    string // one sentence
	Required bool
	Default  string // "": none

	check func(value string) error
}

// maxTolerance bounds what an endpoint may set: a captured request would stay good for as long.
const maxTolerance = 24 * time.Hour

func toleranceSetting(standard time.Duration) Setting {
	return Setting{
		Name:    "tolerance",
		About:   "How many seconds the signed time may be away from the arrival.",
		Default: strconv.Itoa(int(standard / time.Second)),
		check: func(value string) error {
			_, err := parseSeconds(value, maxTolerance)
			return err
		},
	}
}

// parseSeconds reads a whole number of seconds, from 1 up to the bound.
func parseSeconds(value string, most time.Duration) (time.Duration, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > int(most/time.Second) || strconv.Itoa(n) != value {
		return 0, fmt.Errorf("a whole number of seconds from 1 to %d", int(most/time.Second))
	}
	return time.Duration(n) * time.Second, nil
}

// Configure gives the provider as an endpoint's configuration makes it, with everything parsed that can be parsed
// once: whoever verifies more than one request for an endpoint does so with it. The error is hub.Invalid and names
// each setting that is wrong. The configuration is not kept.
func (p *Provider) Configure(config map[string]string) (*Provider, error) {
	q := *p
	q.configured = true
	if err := q.checkSettings(config); err != nil {
		return nil, err
	}
	if q.apply != nil {
		if err := q.apply(&q, config); err != nil {
			return nil, err
		}
	} else if value, ok := config["tolerance"]; ok {
		rule := *q.declared.Time
		rule.Tolerance, _ = parseSeconds(value, maxTolerance) // checked above
		q.declared.Time = &rule
	}
	if err := q.finish(); err != nil {
		return nil, hub.FieldErrorf("body.config", "%s", err)
	}
	return &q, nil
}

// with gives the provider itself where it is configured already or there is nothing to configure.
func (p *Provider) with(config map[string]string) (*Provider, error) {
	if p.configured || len(config) == 0 && len(p.RequiredConfig) == 0 {
		return p, nil
	}
	return p.Configure(config)
}

func (p *Provider) checkSettings(config map[string]string) error {
	var wrong fieldErrors
	for _, name := range slices.Sorted(maps.Keys(config)) {
		i := slices.IndexFunc(p.Settings, func(s Setting) bool { return s.Name == name })
		if i < 0 {
			wrong.add(name, "%s has no such setting; it has: %s", p.Name, p.settingNames())
			continue
		}
		if err := p.Settings[i].check(config[name]); err != nil {
			wrong.add(name, "%s", err)
		}
	}
	for _, s := range p.Settings {
		if _, ok := config[s.Name]; s.Required && !ok {
			wrong.add(s.Name, "is required: %s", s.About)
		}
	}
	return wrong.err()
}

func (p *Provider) settingNames() string {
	if len(p.Settings) == 0 {
		return "none"
	}
	names := make([]string, len(p.Settings))
	for i, s := range p.Settings {
		names[i] = s.Name
	}
	return strings.Join(names, ", ")
}

// fieldErrors collects what is wrong with a configuration, setting by setting.
type fieldErrors []hub.FieldError

func (f *fieldErrors) add(setting, format string, args ...any) {
	*f = append(*f, hub.FieldError{Location: "body.config." + setting, Message: fmt.Sprintf(format, args...)})
}

func (f fieldErrors) err() error {
	if len(f) == 0 {
		return nil
	}
	names := make([]string, len(f))
	for i, e := range f {
		names[i] = strings.TrimPrefix(e.Location, "body.")
	}
	err := hub.Errorf(hub.Invalid, "the endpoint's configuration is not valid: %s", strings.Join(names, ", "))
	err.Fields = f
	return err
}
