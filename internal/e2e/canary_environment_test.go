package e2e_test

import (
	"encoding/base64"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/config"
)

// wrongEnvironments has every variable say a secret: of another variable, in another form, in a file's place; and has
// those that are secrets say what cannot work. config prints what is in effect, so that a variable that is none is shown
// there: that it was pasted into the wrong one, nobody can know.
func (b *birdcage) wrongEnvironments(t *testing.T) []commandTry {
	t.Helper()
	var tries []commandTry
	with := func(what, variables string, commands ...string) {
		env := slices.Clone(b.env)
		for variable := range strings.SplitSeq(variables, "\x00") {
			name, _, _ := strings.Cut(variable, "=")
			env = slices.DeleteFunc(env, func(pair string) bool {
				is, _, _ := strings.Cut(pair, "=")
				return is == name || is+"_FILE" == name
			})
			env = append(env, variable)
		}
		for _, args := range commands {
			tries = append(tries, commandTry{name: args + " " + what, env: env, args: args})
		}
	}
	var asItself, asFile, asLongFile, asText, asURL []string
	for _, v := range config.Variables() {
		switch {
		case v.Secret:
			asItself = append(asItself, v.Name+"="+b.secret(t, v.Name, canary.Text()))
			asFile = append(asFile, v.Name+"_FILE="+b.secret(t, v.Name+"_FILE", canary.Text()))
			asLongFile = append(asLongFile, v.Name+"_FILE="+strings.Repeat(b.secret(t, v.Name+"_FILE", canary.Text()), 200))
		case !shownByConfig[v.Name]:
			asText = append(asText, v.Name+"="+b.mislay(t, v.Name))
			asURL = append(asURL, v.Name+"=https://u:"+b.mislay(t, v.Name)+"@example.com/?key="+b.mislay(t, v.Name))
		}
	}
	every := []string{"config", "doctor", "serve", "keyset rotate", "keyset reseal", "migrate status", "key list --operator"}
	for what, variables := range map[string][]string{
		"with secrets that they cannot be": asItself, "with secrets in the place of files": asFile, "with long secrets in the place of files": asLongFile,
		"with secrets in every variable": asText, "with URLs in every variable": asURL,
	} {
		with(what, strings.Join(variables, "\x00"), every...)
	}
	with("with a key itself", "TRIBUTARY_TLS_KEY_FILE="+b.tlsKey, "config", "doctor", "serve")
	with("with a key that is a certificate", "TRIBUTARY_TLS_CERT_FILE="+filepath.Join(b.dir, "tls.key"), "doctor", "serve")
	with("misspelt", "TRIBUTARY_KEYSETT="+b.mislay(t, "a misspelt variable"), "config", "serve")

	secret := func(what string) string { return b.secret(t, "a database URL: "+what, canary.Text()) }
	socket := b.server.URL(birdcageDatabase)
	password := func(of string) string {
		u, err := url.Parse(socket)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("hub", secret(of))
		return u.String()
	}
	for what, value := range map[string]string{
		"with a wrong password":              password("a wrong password"),
		"with a parameter that is none":      password("a parameter that is none") + "&pool_max_conns=" + secret("pool_max_conns"),
		"with a mode that is none":           password("a mode that is none") + "&sslmode=" + secret("sslmode"),
		"with a time that is none":           password("a time that is none") + "&connect_timeout=" + secret("connect_timeout"),
		"with a certificate that is none":    password("a certificate") + "&sslmode=verify-full&sslcert=/nothing&sslkey=/nothing&sslpassword=" + secret("sslpassword"),
		"with a setting that is none":        password("a setting that is none") + "&work_memory=" + secret("a setting"),
		"with a password in its query":       socket + "&user=hub&password=" + secret("a password in the query"),
		"with a port that is none":           "postgres://hub:" + secret("a port") + "@127.0.0.1:" + secret("a port") + "/x",
		"with a server that is not there":    "postgres://hub:" + secret("nobody there") + "@127.0.0.1:1/x?password=" + secret("nobody there"),
		"with a host that is none":           "postgres://hub:" + secret("a host") + "@nobody.invalid/x",
		"with a password that has a slash":   "postgres://hub:" + secret("a slash") + "/" + secret("a slash") + "@127.0.0.1:1/x",
		"with a password that has a percent": "postgres://hub:%zz" + secret("a percent") + "@127.0.0.1:1/x",
		"in the other form":                  "host=127.0.0.1 port=1 user=hub password=" + secret("the other form"),
	} {
		with("the database "+what, "TRIBUTARY_DATABASE_URL="+value, "config", "doctor", "serve")
		with("the direct one "+what, "TRIBUTARY_DIRECT_DATABASE_URL="+value, "doctor --json", "serve")
		with("the owner's "+what, "TRIBUTARY_OWNER_DATABASE_URL="+value, "migrate status", "keyset promote", "key list --operator", "epoch new")
	}

	keyset := strings.TrimPrefix(b.env[2], "TRIBUTARY_KEYSET=")
	inClear, err := base64.StdEncoding.DecodeString(keyset)
	if err != nil {
		t.Fatal(err)
	}
	for what, value := range map[string]string{
		"cut short":                keyset[:len(keyset)-9],
		"in clear":                 string(inClear),
		"in clear, cut short":      string(inClear[:len(inClear)-40]),
		"with a member too many":   strings.Replace(string(inClear), "{", `{"`+secret("a member of a keyset")+`":1,`, 1),
		"of a kind that is none":   strings.Replace(string(inClear), "AesGcmKey", secret("a kind of key"), 1),
		"of another hub":           b.another(t),
		"as a JWK":                 `{"kty":"oct","k":"` + secret("a JWK") + `"}`,
		"as a Tink text in base64": base64.StdEncoding.EncodeToString([]byte(`{"key":["` + secret("no keyset") + `"]}`)),
	} {
		with("a keyset "+what, "TRIBUTARY_KEYSET="+value, "doctor", "serve", "keyset reseal")
	}
	return tries
}

// shownByConfig are variables that can be any text, so that config shows them as they are, and where a file is not found
// its name.
var shownByConfig = map[string]bool{
	"TRIBUTARY_TENANT": true, "TRIBUTARY_DATA_DIR": true, "OTEL_SERVICE_NAME": true, "OTEL_RESOURCE_ATTRIBUTES": true,
	"TRIBUTARY_TLS_CERT_FILE": true, "TRIBUTARY_TLS_KEY_FILE": true, "OTEL_EXPORTER_OTLP_CERTIFICATE": true,
}

// another is a keyset that the database does not know.
func (b *birdcage) another(t *testing.T) string {
	t.Helper()
	keyset := b.made(t, "keyset new", nil, "keyset", "new")
	b.learnKeyset(t, keyset)
	return keyset
}
