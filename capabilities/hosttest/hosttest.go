// Package hosttest has whole machines to test with: for each a tree of the
// files that capabilities reads below a host root.
//
// A machine is a txtar archive in hosts. Its entry SOURCES.md says where the
// facts come from, and its entry TREE has what takes one line: files
// ("path = content"), links ("path -> target") and folders ("path/"); "@ path"
// is put before the paths below it that begin with "./", and \0 stands for NUL.
// Files of several lines are entries of their own. An archive rather than a
// folder, because paths of sysfs have colons, which Go modules must not.
package hosttest

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"
)

//go:embed hosts/*.txtar
var hosts embed.FS

// Names returns the names of all machines, sorted.
func Names() []string {
	entries, _ := hosts.ReadDir("hosts") // it is part of the program
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".txtar"))
	}
	return names
}

// Sources returns where the facts about a machine come from.
func Sources(name string) (string, error) {
	archive, err := load(name)
	if err != nil {
		return "", err
	}
	for _, f := range archive.Files {
		if f.Name == "SOURCES.md" {
			return string(f.Data), nil
		}
	}
	return "", fmt.Errorf("host %s: there is no SOURCES.md", name)
}

// Write puts the files of a machine into a folder, which becomes its host root.
func Write(dir, name string) error {
	archive, err := load(name)
	if err != nil {
		return err
	}
	for _, f := range archive.Files {
		switch f.Name {
		case "SOURCES.md":
		case "TREE":
			err = writeTree(dir, string(f.Data))
		default:
			err = put(dir, f.Name, f.Data)
		}
		if err != nil {
			return fmt.Errorf("host %s: %w", name, err)
		}
	}
	return nil
}

func load(name string) (*txtar.Archive, error) {
	data, err := hosts.ReadFile("hosts/" + name + ".txtar")
	if err != nil {
		return nil, fmt.Errorf("there is no host %s to test with: %w", name, err)
	}
	return txtar.Parse(data), nil
}

func writeTree(dir, tree string) error {
	base := ""
	for line := range strings.Lines(tree) {
		line = strings.TrimSpace(line)
		if at, found := strings.CutPrefix(line, "@ "); found {
			base = at
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if rest, found := strings.CutPrefix(line, "./"); found {
			line = base + "/" + rest
		}
		if err := writeLine(dir, line); err != nil {
			return err
		}
	}
	return nil
}

func writeLine(dir, line string) error {
	if name, target, found := strings.Cut(line, " -> "); found {
		p, err := place(dir, name)
		if err != nil {
			return err
		}
		return os.Symlink(target, p)
	}
	if name, content, found := strings.Cut(line, " ="); found {
		content = strings.TrimPrefix(content, " ")
		if strings.Contains(content, `\0`) {
			return put(dir, name, []byte(strings.ReplaceAll(content, `\0`, "\x00")))
		}
		return put(dir, name, []byte(content+"\n"))
	}
	if !strings.HasSuffix(line, "/") {
		return errors.New("TREE: cannot understand " + line)
	}
	return os.MkdirAll(filepath.Join(dir, line), 0o755)
}

func put(dir, name string, content []byte) error {
	p, err := place(dir, name)
	if err != nil {
		return err
	}
	return os.WriteFile(p, content, 0o644)
}

// place makes the folder for a file.
func place(dir, name string) (string, error) {
	if !filepath.IsLocal(path.Clean(name)) {
		return "", errors.New("TREE: not below the root: " + name)
	}
	p := filepath.Join(dir, name)
	return p, os.MkdirAll(filepath.Dir(p), 0o755)
}
