package check_test

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
)

const dockerfile = "../Dockerfile"

// noRegistry stands for the registry: what it says of a base image is all that the linter asks.
type noRegistry struct{}

func (noRegistry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config := fmt.Appendf(nil, `{"architecture":%q,"os":"linux","config":{"Env":["PATH=/usr/local/bin:/usr/bin:/bin"]}}`, runtime.GOARCH)
	return ref, digest.FromBytes(config), config, nil
}

// warnings are what BuildKit's own linter, that of `docker build --check`, says of a Dockerfile.
func warnings(t *testing.T, source string) []string {
	t.Helper()
	sources := llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", []byte(source))
	sources.Definition = &llb.Definition{} // of a file that no build has fetched
	found, err := dockerfile2llb.DockerfileLint(t.Context(), []byte(source), dockerfile2llb.ConvertOpt{MetaResolver: noRegistry{}, SourceMap: sources})
	if err != nil {
		return []string{err.Error()}
	}
	var all []string
	if found.Error != nil {
		all = append(all, found.Error.Message)
	}
	for _, w := range found.Warnings {
		all = append(all, w.RuleName+": "+w.Detail)
	}
	return all
}

func TestDockerfile_Lint(t *testing.T) {
	t.Parallel()
	source := read(t, dockerfile)
	for _, w := range warnings(t, source) {
		t.Error(w)
	}
	for rule, broken := range map[string]string{
		"JSONArgsRecommended":   strings.Replace(source, `CMD ["serve"]`, "CMD serve", 1),
		"UndefinedVar":          strings.Replace(source, `version="$VERSION"`, `version="$VERSON"`, 1),
		"FromAsCasing":          strings.Replace(source, " AS build", " as build", 1),
		"SecretsUsedInArgOrEnv": strings.Replace(source, "ENV ", "ENV API_TOKEN=x ", 1),
		"unknown instruction":   strings.Replace(source, "EXPOSE", "EXPOES", 1),
	} {
		found := strings.Join(warnings(t, broken), "\n")
		if source == broken || !strings.Contains(strings.ToLower(found), strings.ToLower(rule)) {
			t.Errorf("%s: the linter says %q", rule, found)
		}
	}
}

func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	parsed, err := parser.Parse(strings.NewReader(read(t, dockerfile)))
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// instructionsOf are all that the Dockerfile says below the line that names its compiler. The image has one program, the
// certificate authorities that it trusts and nothing else; it runs as nobody in particular, tells its health by that
// program, and ends by SIGTERM. What the build takes of the checkout is named folder by folder.
var instructionsOf = []string{
	"WORKDIR /src",
	"ENV GOCACHE=/go/build",
	"COPY go.mod go.sum ./",
	"RUN --mount=type=cache,target=/go/pkg/mod go mod download",
	"COPY cmd cmd",
	"COPY internal internal",
	"COPY migrations migrations",
	"ARG VERSION=devel",
	"ARG TARGETOS",
	"ARG TARGETARCH",
	"RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/build " +
		"CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -tags timetzdata " +
		`-ldflags "-s -w -X main.version=$VERSION" -o /out/tributary ./cmd/tributary`,
	"FROM scratch",
	"ARG VERSION=devel",
	"LABEL …",
	"COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt",
	"COPY --from=build /out/tributary /tributary",
	"ENV TRIBUTARY_OPS_LISTEN=:9090",
	"USER 65532:65532",
	"EXPOSE 8080 9090",
	`HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/tributary", "doctor", "--ready"]`,
	`ENTRYPOINT ["/tributary"]`,
	`CMD ["serve"]`,
}

func TestDockerfile_Image(t *testing.T) {
	t.Parallel()
	parsed, err := parser.Parse(strings.NewReader(read(t, dockerfile)))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, node := range parsed.AST.Children {
		line := node.Original
		if strings.HasPrefix(line, "LABEL ") {
			line = "LABEL …" // words for people
		}
		said = append(said, line)
	}
	compiler := regexp.MustCompile(`^FROM --platform=\$BUILDPLATFORM golang:(\d+\.\d+)\.\d+-[a-z]+ AS build$`).FindStringSubmatch(said[0])
	if compiler == nil || compiler[1] != goOf(t) {
		t.Errorf("it builds by %s, go.mod says Go %s", said[0], goOf(t))
	}
	if diff := cmp.Diff(instructionsOf, said[1:]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range stages(t)[1].Commands {
		if c, ok := c.(*instructions.EnvCommand); ok {
			environment := map[string]string{}
			for _, pair := range c.Env {
				environment[pair.Key] = pair.Value
			}
			accepts(t, environment)
		}
	}
}

func goOf(t *testing.T) string {
	t.Helper()
	match := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, root+"/go.mod"))
	if match == nil {
		t.Fatal("go.mod names no version of Go")
	}
	return match[1]
}

// The Dockerfile's own build line, run on what its COPY lines take of the context that .dockerignore leaves, makes a
// program that needs nothing of its system.
func TestDockerfile_Build(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	var line string
	for _, c := range stages(t)[0].Commands {
		switch c := c.(type) {
		case *instructions.CopyCommand:
			for _, path := range c.SourcePaths {
				copyContext(t, filepath.Clean(path), src)
			}
		case *instructions.RunCommand:
			if text := strings.Join(c.CmdLine, " "); strings.Contains(text, "go build") {
				line = text
			}
		}
	}
	if _, err := os.Stat(filepath.Join(src, "deploy")); err == nil {
		t.Error("deploy, where secrets are kept, is in the image's context")
	}
	out := filepath.Join(src, "tributary")
	line = strings.ReplaceAll(line, "/out/tributary", out)
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "VERSION=v9.8.7", "TARGETOS=linux", "TARGETARCH="+runtime.GOARCH, "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, said)
	}

	file, err := elf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it is not static: it has %v", p.Type)
		}
	}
	said, err := exec.Command(out, "version").Output()
	if err != nil || !bytes.Contains(said, []byte("v9.8.7")) {
		t.Errorf("its version is %q, %v", said, err)
	}
	info, err := exec.Command("go", "version", "-m", out).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath=true", "-tags=timetzdata"} {
		if !bytes.Contains(info, []byte(want)) {
			t.Errorf("it was not built with %s:\n%s", want, info)
		}
	}
}

// copyContext copies what a COPY line would find: the checkout's files, less those that .dockerignore names.
func copyContext(t *testing.T, path, to string) {
	t.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, root+"/.dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	copied := 0
	err = filepath.WalkDir(filepath.Join(root, path), func(from string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(root, from)
		if err != nil {
			return err
		}
		ignored, err := matcher.MatchesOrParentMatches(relative)
		if err != nil || ignored {
			return err
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		copied++
		at := filepath.Join(to, relative)
		return errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, content, 0o644))
	})
	if err != nil {
		t.Fatal(err)
	}
	if copied == 0 {
		t.Errorf("COPY %s: .dockerignore leaves nothing of it", path)
	}
}

// Nothing that an operator keeps beside compose.yaml gets into the image's context.
func TestDockerignore(t *testing.T) {
	t.Parallel()
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, root+"/.dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"deploy/secrets/keyset": true, "deploy/.env": true, ".git/config": true, ".tributary/dev.json": true, "internal/app/app_test.go": true,
		"go.mod": false, "cmd/tributary/main.go": false, "migrations/001_schema.sql": false, "internal/docs/pages/index.md": false,
	} {
		if ignored, err := matcher.MatchesOrParentMatches(path); err != nil || ignored != want {
			t.Errorf("%s: ignored %v, %v; want %v", path, ignored, err, want)
		}
	}
}
