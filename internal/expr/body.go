package expr

import (
	"bytes"
	"mime"
	"net/url"
	"unicode/utf8"
)

// parseBody makes a body into the value that expressions see:
//
//   - JSON: its value (see decodeJSON), whatever the content type says;
//   - a form (application/x-www-form-urlencoded): a map of strings, with a list where a name repeats, and with the
//     parsed value under payload where that is a JSON object, as Slack and GitHub send it. What begins like a JSON
//     object or list is tried as JSON first: curl -d labels everything a form;
//   - any other text in UTF-8: a string;
//   - nothing, and bytes: null.
func parseBody(contentType string, body []byte) any {
	kind, _, _ := mime.ParseMediaType(contentType)
	form := kind == "application/x-www-form-urlencoded"
	trimmed := bytes.TrimLeft(body, " \t\r\n")
	if len(trimmed) == 0 {
		return nil
	}
	if !form || trimmed[0] == '{' || trimmed[0] == '[' {
		if value, ok := decodeJSON(body); ok {
			return value
		}
	}
	if form {
		if values, err := url.ParseQuery(string(body)); err == nil {
			return formValue(values)
		}
	}
	if !utf8.Valid(body) {
		return nil
	}
	return string(body)
}

func formValue(values url.Values) map[string]any {
	form := make(map[string]any, len(values))
	for name, all := range values {
		if len(all) == 1 {
			form[valid(name)] = valid(all[0])
			continue
		}
		list := make([]any, len(all))
		for i, one := range all {
			list[i] = valid(one)
		}
		form[valid(name)] = list
	}
	if payload, ok := form["payload"].(string); ok {
		if value, ok := decodeJSON([]byte(payload)); ok {
			if object, ok := value.(map[string]any); ok {
				form["payload"] = object
			}
		}
	}
	return form
}
