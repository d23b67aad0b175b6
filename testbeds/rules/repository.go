package rules

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Read reads the files of the repository at root: those that git tracks, and
// outside a git checkout (a source archive) those that are there.
func Read(root string) ([]File, error) {
	paths, err := tracked(root)
	if err != nil {
		paths, err = present(root)
	}
	if err != nil {
		return nil, fmt.Errorf("list the files of the repository %s: %w", root, err)
	}
	var files []File
	for _, p := range paths {
		f, err := readFile(root, p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func tracked(root string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		return nil, err
	}
	cmd := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 }), nil
}

// present walks the folders, less what the build leaves there.
func present(root string) ([]string, error) {
	built := []string{"bin", "dist", ".cache", ".git"}
	var paths []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains(built, rel) {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			paths = append(paths, filepath.ToSlash(rel))
		}
		return nil
	})
	return paths, err
}

func readFile(root, path string) (File, error) {
	name := filepath.Join(root, filepath.FromSlash(path))
	info, err := os.Lstat(name)
	if err != nil {
		return File{}, err
	}
	f := File{Path: path, Size: info.Size()}
	if !f.isGo() || !info.Mode().IsRegular() {
		return f, nil
	}
	src, err := os.ReadFile(name)
	if err != nil {
		return File{}, err
	}
	return parseGo(f, src)
}

// parseGo fills in what only Go files have.
func parseGo(f File, src []byte) (File, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), f.Path, src, parser.ParseComments|parser.ImportsOnly)
	if err != nil {
		return File{}, fmt.Errorf("parse %s: %w", f.Path, err)
	}
	f.Lines = bytes.Count(src, []byte("\n"))
	f.Package = parsed.Name.Name
	f.Doc = strings.TrimSpace(parsed.Doc.Text()) != ""
	f.Generated = ast.IsGenerated(parsed)
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return File{}, fmt.Errorf("parse %s: import %s: %w", f.Path, spec.Path.Value, err)
		}
		f.Imports = append(f.Imports, imported)
	}
	return f, nil
}
