package localpg

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	treeLimit  = 512 << 20 // bytes, unpacked; the largest build has 135 MB
	entryLimit = 10_000    // files; the builds have about 1,000

	openMode = 0o755 // of folders that the user whom Postgres runs as must pass

	linksFile = "native/pg-symlinks.json" // links, which npm cannot pack: [{"source":"native/lib/a.so.1","target":"native/lib/a.so"}]
)

// unpack makes dir out of a gzipped tar as npm packs it: regular files below package/, readable by everybody,
// executable where the archive says so. Every write goes through an os.Root, so no name and no link leads out of dir.
func unpack(packed io.Reader, dir string) error {
	if err := os.Mkdir(dir, openMode); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	zipped, err := gzip.NewReader(bufio.NewReader(packed))
	if err != nil {
		return err
	}
	archive, room := tar.NewReader(zipped), int64(treeLimit)
	for entries := 0; ; entries++ {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if room -= header.Size; room < 0 || entries >= entryLimit {
			return errors.New("the archive is larger than any build of Postgres")
		}
		if err := unpackEntry(root, header, archive); err != nil {
			return fmt.Errorf("%q: %w", header.Name, err)
		}
	}
	if err := makeLinks(root); err != nil {
		return err
	}
	return openFolders(root)
}

// unpackEntry writes one file.
func unpackEntry(root *os.Root, header *tar.Header, content io.Reader) error {
	name, ok := strings.CutPrefix(header.Name, "package/")
	if !ok || !filepath.IsLocal(name) {
		return errors.New("lies outside the package")
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return nil // made with the files in them
	case tar.TypeReg:
	default:
		return errors.New("is neither a file nor a folder")
	}
	if err := root.MkdirAll(path.Dir(name), openMode); err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if header.Mode&0o100 != 0 {
		mode = 0o755
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Chmod(mode), file.Close()) // whatever the umask
}

// makeLinks makes the links that the package lists, relative, so that the tree can move.
func makeLinks(root *os.Root) error {
	listed, err := root.ReadFile(linksFile)
	if err != nil {
		return err
	}
	var links []struct {
		Source string `json:"source"`
		Target string `json:"target"`
	}
	if err := json.Unmarshal(listed, &links); err != nil {
		return fmt.Errorf("%s: %w", linksFile, err)
	}
	for _, link := range links {
		if !filepath.IsLocal(link.Source) || !filepath.IsLocal(link.Target) {
			return fmt.Errorf("%s: %q lies outside the package", linksFile, link)
		}
		relative, err := filepath.Rel(path.Dir(link.Target), link.Source)
		if err != nil {
			return err
		}
		if err := root.Symlink(relative, link.Target); err != nil {
			return err
		}
	}
	return nil
}

// openFolders lets everybody pass, whatever the umask: as root, Postgres runs as another user.
func openFolders(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return root.Chmod(name, openMode)
	})
}
