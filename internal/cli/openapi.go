package cli

import (
	"github.com/tributary-hub/tributary/internal/api"
)

type openAPICommand struct {
	Format  string `enum:"yaml,json" default:"yaml" help:"yaml or json."`
	Version string `enum:"3.1,3.0" default:"3.1" help:"Of OpenAPI: 3.1 or 3.0."`
}

func (o openAPICommand) Run(env Env) error {
	document, err := api.Document(o.Version, o.Format)
	if err != nil {
		return err
	}
	_, err = env.Stdout.Write(document)
	return err
}
