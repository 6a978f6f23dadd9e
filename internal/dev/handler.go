package dev

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

const maxTokenRequest = 64 << 10

// routes are the issuer's patterns on the public mux.
func (i *issuer) routes() map[string]http.Handler {
	return map[string]http.Handler{
		"GET " + issuerPath + "/.well-known/openid-configuration": http.HandlerFunc(i.serveDiscovery),
		"GET " + issuerPath + "/jwks":                             http.HandlerFunc(i.serveKeys),
		"POST " + issuerPath + "/token":                           http.HandlerFunc(i.serveToken),
		"OPTIONS " + issuerPath + "/token":                        http.HandlerFunc(servePreflight),
	}
}

func (i *issuer) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	answer(w, r, map[string]any{
		"issuer":                                i.url,
		"jwks_uri":                              i.url + "/jwks",
		"token_endpoint":                        i.url + "/token",
		"response_types_supported":              []string{"token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
	})
}

func (i *issuer) serveKeys(w http.ResponseWriter, r *http.Request) { answer(w, r, i.public) }

// serveToken gives a token about anybody to whoever can send JSON from this machine: not to a page of the web, whose
// requests a browser marks.
func (i *issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	if err := checkOrigin(r); err != nil {
		problem.Write(w, r, err)
		return
	}
	share(w, r)
	request, err := readTokenRequest(w, r)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	token, ttl, err := i.token(request)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	answer(w, r, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int64(ttl.Seconds())})
}

func readTokenRequest(w http.ResponseWriter, r *http.Request) (tokenRequest, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return tokenRequest{}, hub.Errorf(hub.UnsupportedMedia, "the token endpoint takes application/json")
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTokenRequest))
	decoder.DisallowUnknownFields()
	var request tokenRequest
	err := decoder.Decode(&request)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return tokenRequest{}, err
	}
	if err != nil {
		return tokenRequest{}, hub.Errorf(hub.Malformed, `the body is not JSON of the form {"sub":"alice","claims":{…},"ttl":3600}`)
	}
	return request, nil
}

// checkOrigin lets pages of this machine pass, and what is no browser.
func checkOrigin(r *http.Request) error {
	if isLoopbackOrigin(r.Header.Get("Origin")) || new(http.CrossOriginProtection).Check(r) == nil {
		return nil
	}
	return hub.Errorf(hub.OriginNotAllowed, "only pages of this machine may ask for tokens")
}

func servePreflight(w http.ResponseWriter, r *http.Request) {
	share(w, r)
	if isLoopbackOrigin(r.Header.Get("Origin")) {
		h := w.Header()
		h.Set("Access-Control-Allow-Methods", "POST")
		h.Set("Access-Control-Allow-Headers", "Content-Type")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}

// answer writes JSON that pages of this machine may read.
func answer(w http.ResponseWriter, r *http.Request, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	share(w, r)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(encoded, '\n')) // nobody is left to be told
}

// share lets a page of this machine read the answer.
func share(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Origin")
	if origin := r.Header.Get("Origin"); isLoopbackOrigin(origin) {
		w.Header().Set("Access-Control-Allow-Origin", origin)
	}
}

// isLoopbackOrigin says whether a page of that origin comes from this machine.
func isLoopbackOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Scheme+"://"+u.Host != origin {
		return false
	}
	return isLoopbackHost(u.Hostname())
}

// isLoopbackHost says whether a name or address without a port means this machine alone.
func isLoopbackHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || strings.EqualFold(host, "localhost")
}
