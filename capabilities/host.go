package capabilities

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxFileBytes bounds what is read of a file; /proc/cpuinfo of a machine with
// 500 cores has 800 KiB.
const maxFileBytes = 4 << 20

// Host is the machine to look at.
type Host struct {
	Root     string // where its /proc, /sys and /etc are; empty: "/"
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
func (h Host) read(name string) (string, error) {
	f, err := h.open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // of a file that was only read
	content, err := io.ReadAll(io.LimitReader(f, maxFileBytes))
	if err != nil {
		return "", fmt.Errorf("read /%s: %w", name, err)
	}
	return string(content), nil
}

func (h Host) open(name string) (*os.File, error) {
	if h.isLive() {
		return os.Open("/" + name)
	}
	return os.OpenInRoot(h.root(), name)
}

// line returns a file's only line.
func (h Host) line(name string) (string, error) {
	text, err := h.read(name)
	return strings.TrimRight(text, "\x00\n "), err
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
