// Package browser has what a browser loads: files that are embedded as they are written, without a build step. They
// load nothing from anywhere but the hub, and know of it what the contract says.
package browser

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"time"
)

//go:embed selftest
var files embed.FS

// Pages are what is served, by pattern.
func Pages() map[string]http.Handler {
	all := map[string]http.Handler{"GET /selftest": serve("selftest/index.html", selftestPolicy)}
	for _, name := range []string{"page.js", "verdict.js", "frames.js", "drawing.js", "style.css"} {
		all["GET /selftest/"+name] = serve("selftest/"+name, selftestPolicy)
	}
	return all
}

// serve answers with a file, under that policy, or says that the client's copy is good still.
func serve(name, policy string) http.Handler {
	body, err := files.ReadFile(name)
	if err != nil {
		panic(err) // the file is not part of the build
	}
	sum := sha256.Sum256(body)
	header := map[string]string{
		"Content-Type":               mediaType(name),
		"Content-Security-Policy":    policy,
		"Cross-Origin-Opener-Policy": "same-origin",
		"X-Content-Type-Options":     "nosniff",
		"Referrer-Policy":            "no-referrer",
		"Cache-Control":              "no-cache", // asked for anew each time, so that page and script are of one build
		"ETag":                       `"` + hex.EncodeToString(sum[:12]) + `"`,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for key, value := range header {
			w.Header().Set(key, value)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})
}

// mediaType goes by the name alone: what the machine's own tables say of scripts differs, and a browser runs none of
// another type.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	}
	return "text/javascript; charset=utf-8"
}
