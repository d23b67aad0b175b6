package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/edgeio/edgeio/drivers/internal/shim"
)

// Exit codes of a command that could not be started, as shells have them.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// enter becomes a further command in the workload of dir. The caller has put
// this process into the version 2 control group and given it a session.
func enter(dir string) int {
	l, err := readExec(dir)
	if err == nil {
		err = l.Cgroup.EnterV1()
	}
	own := err == nil && l.Dir == filepath.Join(dir, shim.DirWork)
	if own { // as run does it: before the change of user
		err = os.Chdir(l.Dir)
	}
	if err == nil && l.SetUser {
		err = become(l)
	}
	if err == nil && !own {
		err = os.Chdir(l.Dir)
	}
	if err != nil {
		os.Stderr.WriteString("edgeshim: " + err.Error() + "\n")
		return codeNotExecutable
	}
	path, err := lookPath(l.Argv[0], l.Env)
	if err == nil {
		err = syscall.Exec(path, l.Argv, l.Env)
	}
	os.Stderr.WriteString(l.Argv[0] + ": " + err.Error() + "\n")
	if errors.Is(err, syscall.ENOENT) {
		return codeNotFound
	}
	return codeNotExecutable
}

// readExec reads the workload's launch with the command and variables of fd 3.
func readExec(dir string) (*shim.Launch, error) {
	b, err := os.ReadFile(filepath.Join(dir, shim.FileLaunch))
	if err != nil {
		return nil, err
	}
	l, err := shim.ParseLaunch(b)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(ackFD, "command")
	more, err := io.ReadAll(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	x, err := shim.ParseLaunch(more)
	if err != nil {
		return nil, err
	}
	if len(x.Argv) == 0 {
		return nil, errors.New("no command")
	}
	l.Argv, l.Env = x.Argv, x.Env
	return l, nil
}

func become(l *shim.Launch) error {
	groups := make([]int, len(l.Groups))
	for i, g := range l.Groups {
		groups[i] = int(g)
	}
	if err := syscall.Setgroups(groups); err != nil {
		return err
	}
	if err := syscall.Setgid(int(l.GID)); err != nil {
		return err
	}
	return syscall.Setuid(int(l.UID))
}

const accessExecute = 1 // X_OK of access(2)

// lookPath finds a program as a shell with env would.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, e := range env {
		path, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(path, ":") {
			file := filepath.Join(dir, name)
			if info, err := os.Stat(file); err == nil && !info.IsDir() && syscall.Access(file, accessExecute) == nil {
				return file, nil
			}
		}
	}
	return "", syscall.ENOENT
}
