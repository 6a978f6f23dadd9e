package localpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const oldestMajor = 15 // what the hub's schema needs

// packaged is where packages put the programs: Debian, Red Hat, Homebrew on ARM and on Intel.
var packaged = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
}

// version of Postgres; minor is 0 for a beta.
type version struct{ major, minor int }

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?`)

func parseVersion(said string) (version, error) {
	match := versionPattern.FindStringSubmatch(said)
	if match == nil {
		return version{}, fmt.Errorf("no version of Postgres in %q", said)
	}
	major, err := strconv.Atoi(match[1])
	minor, _ := strconv.Atoi(match[2])
	return version{major, minor}, err
}

// programs are the binaries of one installation.
type programs struct {
	dir     string
	version version
}

// finder looks for programs that can be used here.
type finder struct {
	bindir string   // PG_BINDIR
	path   string   // PATH
	globs  []string // where packages put them
	cache  string   // the folder of the build that npm fetches
	owner  *account // who must be able to run them
	major  int      // the cluster's; 0: any that the hub supports
}

func newFinder(owner *account, major int) finder {
	cache, _ := npmFolder() // none: then nothing was ever fetched, and a fetch says why it cannot be
	return finder{
		bindir: os.Getenv("PG_BINDIR"), path: os.Getenv("PATH"), globs: packaged,
		cache: cache, owner: owner, major: major,
	}
}

// obtain returns the folder of the programs for a cluster, and fetches the build if it must. Without any, the error
// says what to install; where ctx is done it is ctx's, for then nothing is known to be missing.
func (f finder) obtain(ctx context.Context, source string, log *slog.Logger) (binDir string, err error) {
	found, err := f.find(ctx, source)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	missing, none := errors.AsType[*missingError](err)
	if !none || source == "system" || !f.npmServes() {
		return found.dir, err
	}
	missing.npm = fetch(ctx, f.npm(), f.cache, log)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case missing.npm != nil:
		return "", missing
	}
	found, err = f.find(ctx, "npm")
	return found.dir, err
}

// find returns the best programs of a source: the newest of PG_BINDIR, PATH and the places of packages; or, with source
// "npm", or "auto" and nothing installed, a build that was fetched before. *missingError where there are none; a
// PG_BINDIR that is wrong is an error of its own: whoever names a folder does not want another one in silence.
func (f finder) find(ctx context.Context, source string) (programs, error) {
	missing := &missingError{source: source, major: f.major}
	switch source {
	case "", "auto", "system":
		if err := f.checkNamed(ctx); err != nil {
			return programs{}, err
		}
		if found, ok := f.newest(ctx, f.installed(), missing); ok {
			return found, nil
		}
		if source == "system" {
			return programs{}, missing
		}
	case "npm":
	default:
		return programs{}, fmt.Errorf("unknown source of Postgres %q: auto, system or npm", source)
	}
	if _, err := os.Stat(f.cache); err == nil { // "" is not there
		if found, ok := f.newest(ctx, []string{filepath.Join(f.cache, "native", "bin")}, missing); ok {
			return found, nil
		}
	}
	return programs{}, missing
}

// checkNamed says whether PG_BINDIR, if it is set, has programs that the hub can use. They may be of another version
// than the cluster's.
func (f finder) checkNamed(ctx context.Context) error {
	if f.bindir == "" {
		return nil
	}
	f.major = 0
	dir, err := resolve(f.bindir)
	if err == nil {
		_, err = f.check(ctx, dir)
	}
	if err != nil {
		return fmt.Errorf("PG_BINDIR is %q, which cannot be used: %w; name a folder with the programs postgres and initdb, %d or newer, or unset it", f.bindir, err, oldestMajor)
	}
	return nil
}

// resolve gives the folder where a folder's postgres really is: a link in PATH leads to its siblings.
func resolve(dir string) (string, error) {
	if !filepath.IsAbs(dir) {
		return "", errors.New("not an absolute path")
	}
	program, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	if err != nil {
		return "", errors.New("has no postgres")
	}
	return filepath.Dir(program), nil
}

// npm is the program in PATH; "" where there is none.
func (f finder) npm() string {
	for _, dir := range filepath.SplitList(f.path) {
		if path, err := exec.LookPath(filepath.Join(dir, "npm")); err == nil && filepath.IsAbs(dir) {
			return path
		}
	}
	return ""
}

// installed lists the folders, each once and without links, that have a postgres; in the order in which they are
// preferred among equals.
func (f finder) installed() []string {
	dirs := append([]string{f.bindir}, filepath.SplitList(f.path)...)
	for _, glob := range f.globs {
		matches, _ := filepath.Glob(glob) // errs on a bad pattern only
		dirs = append(dirs, matches...)
	}
	var list []string
	for _, dir := range dirs {
		if dir, err := resolve(dir); err == nil && !slices.Contains(list, dir) {
			list = append(list, dir)
		}
	}
	return list
}

// newest returns the newest usable programs of some folders, and notes in missing why the others are not.
func (f finder) newest(ctx context.Context, dirs []string, missing *missingError) (best programs, ok bool) {
	for _, dir := range dirs {
		v, err := f.check(ctx, dir)
		if err != nil {
			missing.refused = append(missing.refused, fmt.Sprintf("%s: %v", dir, err))
			continue
		}
		if !ok || cmp.Or(cmp.Compare(v.major, best.version.major), cmp.Compare(v.minor, best.version.minor)) > 0 {
			best, ok = programs{dir, v}, true
		}
	}
	return best, ok
}

// check tells the version of the programs in dir, or why they do not serve.
func (f finder) check(ctx context.Context, dir string) (version, error) {
	if closed := f.owner.blocked(dir); closed != "" {
		return version{}, f.owner.closedError(dir, closed)
	}
	for _, name := range []string{"postgres", "initdb"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return version{}, errors.New("has no " + name)
		}
	}
	v, err := f.owner.version(ctx, filepath.Join(dir, "postgres"))
	switch {
	case errors.Is(err, os.ErrNotExist): // of the loader that the binary names
		return version{}, fmt.Errorf("cannot run here (was it built for another C library?): %w", err)
	case err != nil:
		return version{}, err
	case v.major < oldestMajor:
		return version{}, fmt.Errorf("is Postgres %d", v.major)
	case f.major != 0 && v.major != f.major:
		return version{}, fmt.Errorf("is Postgres %d", v.major)
	}
	return v, nil
}

// npmServes tells whether the build that npm fetches could run the cluster.
func (f finder) npmServes() bool { return f.major == 0 || f.major == npmMajor }

// missingError says that no programs serve, and what to do about it.
type missingError struct {
	source  string
	major   int      // of the cluster; 0 where there is none
	refused []string // folders with the reason why not
	npm     error    // why the build could not be fetched
}

func (e *missingError) Error() string {
	var b strings.Builder
	if e.major != 0 {
		fmt.Fprintf(&b, "the cluster in the data folder was made by Postgres %d, and none of that version was found", e.major)
	} else {
		fmt.Fprintf(&b, "no Postgres %d or newer was found", oldestMajor)
	}
	if e.source == "npm" {
		b.WriteString(" in the cache of builds fetched by npm")
	} else {
		b.WriteString(" (looked in PG_BINDIR, PATH, /usr/lib/postgresql/*/bin, /usr/pgsql-*/bin and Homebrew's folders)")
	}
	if e.npm != nil {
		fmt.Fprintf(&b, "; %v", e.npm)
	}
	b.WriteString(".\n")
	for _, line := range e.refused {
		b.WriteString("  not used: " + line + "\n")
	}
	major := max(e.major, oldestMajor)
	if e.major != 0 {
		b.WriteString("Remove the data folder to begin anew, or do one of these:\n")
	} else {
		b.WriteString("Do one of these:\n")
	}
	if e.source == "npm" {
		b.WriteString("  unset TRIBUTARY_POSTGRES, and installed programs are used\n")
	}
	anywhere := "install npm (Node.js) and leave TRIBUTARY_POSTGRES at auto: a pinned build is fetched"
	switch {
	case e.npm != nil && !errors.Is(e.npm, errNoNPM):
		anywhere = "start again once npm reaches its registry"
	case e.source == "npm":
		anywhere = "install npm (Node.js): a pinned build is fetched"
	}
	fmt.Fprintf(&b, `  Debian, Ubuntu: sudo apt-get install postgresql (%[1]d or newer; older releases: see apt.postgresql.org)
  Fedora:         sudo dnf install postgresql-server
  macOS:          brew install postgresql@17
  anywhere:       %[2]s
  or set PG_BINDIR to a folder with the programs postgres and initdb,
  or TRIBUTARY_DATABASE_URL to a Postgres %[1]d or newer that runs already`, major, anywhere)
	return b.String()
}
