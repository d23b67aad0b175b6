package capabilities

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Bounds of what is read; more is cut off.
const (
	maxFileBytes = 2 << 20 // /proc/cpuinfo of a machine with 500 cores has 800 KiB
	maxLineBytes = 256     // of an attribute; names in sysfs and USB are shorter
	maxEntries   = 4096    // of a folder
	maxLinks     = 40      // in a path, as the kernel has it
)

// Host is the machine to look at.
type Host struct {
	Root     string // where its /proc, /sys, /dev and /etc are; empty: "/"
	StateDir string // whose file system is reported, a path of this process; empty: Root
}

func (h Host) root() string {
	if h.Root == "" {
		return "/"
	}
	return filepath.Clean(h.Root)
}

func (h Host) stateDir() string {
	if h.StateDir == "" {
		return h.root()
	}
	return h.StateDir
}

// isLive tells whether the host is the machine that this process runs on as it is.
func (h Host) isLive() bool { return h.root() == "/" }

// read returns the content of a file, named from the root without "/". Links
// of a relocated root do not lead out of it.
func (h Host) read(name string) (string, error) { return h.readSome(name, maxFileBytes) }

func (h Host) readSome(name string, limit int64) (string, error) {
	f, err := h.open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // of a file that was only read
	content, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return "", fmt.Errorf("read /%s: %w", name, err)
	}
	return string(content), nil
}

// open opens a regular file, which all of /proc and /sys are. What is a pipe or
// a device instead is refused, and waits for nobody.
func (h Host) open(name string) (*os.File, error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	f, err := h.openAs(name, flags)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("read /%s: it is not a regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (h Host) openAs(name string, flags int) (*os.File, error) {
	if h.isLive() {
		return os.OpenFile("/"+name, flags, 0)
	}
	root, err := os.OpenRoot(h.root())
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, flags, 0)
	return f, errors.Join(err, root.Close())
}

// line returns a file's only line, as text that can be shown.
func (h Host) line(name string) (string, error) {
	text, err := h.readSome(name, maxLineBytes)
	return clean(text), err
}

// text returns a file's only line; empty if there is none.
func (h Host) text(name string) string {
	s, err := h.line(name)
	if err != nil {
		return ""
	}
	return s
}

// number returns the number in a file; zero if there is none.
func (h Host) number(name string) int64 {
	n, err := strconv.ParseInt(h.text(name), 0, 64)
	if err != nil {
		return 0
	}
	return n
}

// names returns what is in a folder, sorted; nothing if there is no such folder.
func (h Host) names(dir string) []string {
	d, err := h.openAs(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK)
	if err != nil {
		return nil
	}
	defer func() { _ = d.Close() }() // of a folder that was only read
	names, _ := d.Readdirnames(maxEntries)
	slices.Sort(names)
	return names
}

// matches returns the paths that a pattern of path.Match in the last element
// has in a folder.
func (h Host) matches(dir, pattern string) []string {
	var out []string
	for _, name := range h.names(dir) {
		if ok, _ := path.Match(pattern, name); ok {
			out = append(out, dir+"/"+name)
		}
	}
	return out
}

// exists tells whether there is something, be it a broken link.
func (h Host) exists(name string) bool {
	_, err := h.lstat(name)
	return err == nil
}

func (h Host) lstat(name string) (fs.FileInfo, error) {
	if h.isLive() {
		return os.Lstat("/" + name)
	}
	root, err := os.OpenRoot(h.root())
	if err != nil {
		return nil, err
	}
	info, err := root.Lstat(name)
	return info, errors.Join(err, root.Close())
}

// link returns where a link leads to, as it is written; empty if it is none.
func (h Host) link(name string) string {
	if h.isLive() {
		target, _ := os.Readlink("/" + name)
		return target
	}
	root, err := os.OpenRoot(h.root())
	if err != nil {
		return ""
	}
	defer func() { _ = root.Close() }() // of a folder that was only read
	target, _ := root.Readlink(name)
	return target
}

// target returns the last element of where a link leads to: for a "driver"
// or "subsystem" link in sysfs, its name.
func (h Host) target(name string) string {
	if t := h.link(name); t != "" {
		return clean(path.Base(t))
	}
	return ""
}

// real returns the name of a file with all links followed; the name as it is
// where they lead out of the root or round in circles.
func (h Host) real(name string) string {
	done, rest := "", name
	for links := 0; rest != ""; {
		var element string
		element, rest, _ = strings.Cut(rest, "/")
		switch element {
		case "", ".":
			continue
		case "..":
			if done == "" {
				return name
			}
			if done = path.Dir(done); done == "." {
				done = ""
			}
			continue
		}
		next := path.Join(done, element)
		target := h.link(next)
		if target == "" {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return name
		}
		if path.IsAbs(target) {
			done = ""
		}
		rest = strings.Trim(target, "/") + "/" + rest
	}
	return done
}

// statfs returns size, free and available bytes of the state directory's file system.
func (h Host) statfs() (total, free, available int64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(h.stateDir(), &s); err != nil {
		return 0, 0, 0, fmt.Errorf("statfs %s: %w", h.stateDir(), err)
	}
	size := int64(s.Bsize) // its type differs between architectures
	return int64(s.Blocks) * size, int64(s.Bfree) * size, int64(s.Bavail) * size, nil
}

// clean makes one line of text that can be shown out of whatever a file has:
// firmware pads names with blanks and NULs, and writes them in any encoding.
func clean(s string) string {
	s = strings.TrimRight(s, "\x00\n ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	return strings.Join(strings.Fields(s), " ")
}
