package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tributary-hub/tributary/internal/config"
)

type configCommand struct {
	JSON bool `name:"json" help:"Print as JSON."`
}

// Help is shown below the flags.
func (configCommand) Help() string {
	return `What the environment says and what is taken where it says nothing, as serve has it; secrets are not shown. Exit code 2 where something is not understood.`
}

func (c configCommand) Run(env Env) error {
	loaded, err := env.service()
	if _, understood := errors.AsType[config.Problems](err); err != nil && !understood {
		return err
	}
	if !c.JSON {
		_, failed := fmt.Fprint(env.Stdout, loaded)
		return errors.Join(err, failed)
	}
	values := map[string]string{}
	for _, s := range loaded.Settings() {
		if s.Value != "" {
			values[s.Name] = s.Value
		}
	}
	encoder := json.NewEncoder(env.Stdout)
	encoder.SetIndent("", "  ")
	return errors.Join(err, encoder.Encode(values))
}
