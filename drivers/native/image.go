package native

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/process"
	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// setProgram finds what is to be run; README.md has the rules.
func setProgram(w *process.Workload, l *shim.Launch, spec drivers.Spec) error {
	image := spec.Image.Path
	if image == "" && len(spec.Command) == 0 {
		return w.Errorf(drivers.ErrInvalid, "there is neither an image nor a command")
	}
	isFolder := false
	if image != "" {
		if !filepath.IsAbs(image) {
			return w.Errorf(drivers.ErrInvalid, "image path %q is not absolute", image)
		}
		info, err := os.Stat(image)
		if err != nil {
			return w.Errorf(drivers.ErrImage, "image %s: %w", image, err)
		}
		isFolder = info.IsDir()
	}
	if len(spec.Command) == 0 {
		if isFolder {
			return w.Errorf(drivers.ErrInvalid, "image %s is a folder: say with command which of its programs to run", image)
		}
		l.Path, l.Argv = image, append([]string{image}, spec.Args...)
		return checkProgram(w, l.Path)
	}
	path, err := findProgram(spec.Command[0], image, isFolder, l.Env)
	if err != nil {
		return w.Errorf(drivers.ErrImage, "command %s: %w", spec.Command[0], err)
	}
	l.Path = path
	l.Argv = append(append([]string(nil), spec.Command...), spec.Args...)
	return checkProgram(w, l.Path)
}

// findProgram looks for a command in the image's folder, then on the node.
func findProgram(command, image string, isFolder bool, env []string) (string, error) {
	if filepath.IsAbs(command) {
		return command, nil
	}
	if isFolder {
		if !filepath.IsLocal(command) {
			return "", errors.New("it leads out of the image's folder")
		}
		path := filepath.Join(image, command)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	if strings.Contains(command, "/") {
		return "", fmt.Errorf("there is no such file in image %s", image)
	}
	for _, e := range env {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			path := filepath.Join(dir, command)
			if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", errors.New("it is not in the image nor in PATH")
}

// checkProgram refuses what cannot be started by anybody.
func checkProgram(w *process.Workload, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return w.Errorf(drivers.ErrImage, "program %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return w.Errorf(drivers.ErrImage, "program %s is not a file", path)
	}
	if info.Mode()&0o111 == 0 {
		return w.Errorf(drivers.ErrImage, "program %s has no execute permission (chmod +x)", path)
	}
	return nil
}

// machines are the ELF machine types that a node's own programs have.
var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "386": elf.EM_386, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM, "riscv64": elf.EM_RISCV,
}

// startFailure words an error of starting l, given the system's error number.
// It looks for the cause only now: what the kernel starts, by binfmt_misc
// too, is not second-guessed.
func startFailure(w *process.Workload, l *shim.Launch, what string, errno syscall.Errno) error {
	if info, err := os.Stat(l.Dir); err != nil || !info.IsDir() {
		return w.Errorf(drivers.ErrInvalid, "work directory %s does not exist", l.Dir)
	}
	switch errno {
	case syscall.ENOEXEC, syscall.ELIBBAD:
		return w.Errorf(drivers.ErrImage, "program %s: %s", l.Path, formatFault(l.Path))
	case syscall.ENOENT:
		if _, err := os.Stat(l.Path); err == nil {
			return w.Errorf(drivers.ErrImage, "program %s needs %s, which this node lacks", l.Path, interpreter(l.Path))
		}
		return w.Errorf(drivers.ErrImage, "program %s: %w", l.Path, errno)
	case syscall.EACCES:
		return w.Errorf(drivers.ErrImage, "program %s or work directory %s cannot be reached or run by user %d; check the permissions of each and of the folders above", l.Path, l.Dir, l.UID)
	case syscall.EPERM:
		return w.Errorf(drivers.ErrDenied, "%s: not permitted; run edgeagent as root", what)
	}
	if errno == 0 {
		return w.Errorf(drivers.ErrUnavailable, "%s", what)
	}
	return w.Errorf(process.Class(errno), "%s: %w", what, errno)
}

// formatFault says why the kernel does not take a file for a program.
func formatFault(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return "it is neither a program nor a script that begins with #!"
	}
	defer f.Close()
	if f.Machine != machines[runtime.GOARCH] {
		return fmt.Sprintf("it is built for %s, this node is %s", strings.TrimPrefix(f.Machine.String(), "EM_"), runtime.GOARCH)
	}
	return "its format is not one that this node runs"
}

// interpreter names what a script or a dynamically linked program needs.
func interpreter(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "an interpreter"
	}
	defer f.Close()
	line := make([]byte, 256)
	n, _ := f.Read(line)
	if first, ok := strings.CutPrefix(string(line[:n]), "#!"); ok {
		first, _, _ = strings.Cut(first, "\n")
		return "the interpreter " + strings.TrimSpace(first)
	}
	if e, err := elf.NewFile(f); err == nil {
		if s := e.Section(".interp"); s != nil {
			if b, err := s.Data(); err == nil {
				return "the loader " + strings.TrimRight(string(b), "\x00")
			}
		}
	}
	return "an interpreter"
}
