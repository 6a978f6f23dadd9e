package app

import (
	"fmt"
	"net/http"

	"github.com/tributary-hub/tributary/internal/api"
	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/docs"
)

// documentation gives the pages what they are made of and may not import.
func documentation() (http.Handler, error) {
	openAPI, err := api.Document("3.1", "json")
	if err != nil {
		return nil, fmt.Errorf("make the API's document: %w", err)
	}
	var variables []docs.Variable
	for _, v := range config.Variables() {
		variables = append(variables, docs.Variable{Name: v.Name, Default: v.Default, What: v.What})
	}
	return docs.New(docs.Options{OpenAPI: openAPI, Variables: variables})
}
