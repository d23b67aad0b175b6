package native

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/drivers/internal/process"
	"github.com/edgeio/edgeio/drivers/internal/shim"
	"golang.org/x/sys/unix"
)

// execDrain is how long Exec waits for output after the command has ended:
// what it has left running may hold its output open for ever.
const execDrain = 3 * time.Second

// Exec implements drivers.Execer. The command runs as the workload's user, in
// its control group and work directory and with its environment. A Read of
// o.Stdin that blocks when the command ends is not waited for.
func (d *Driver) Exec(ctx context.Context, h drivers.Handle, o drivers.ExecOptions) (int, error) {
	w, err := d.Open("exec", h)
	if err != nil {
		return 0, err
	}
	st, err := w.State()
	if err != nil {
		return 0, err
	}
	if err := (drivers.Spec{ID: h.ID, Command: o.Command, Env: o.Env}).Check(); err != nil || len(o.Command) == 0 {
		return 0, w.Errorf(drivers.ErrInvalid, "%w", errors.Join(err, errIfEmpty(o.Command)))
	}
	if st.Phase != drivers.PhaseRunning {
		return 0, w.Errorf(drivers.ErrConflict, "it is not running")
	}
	l, err := w.Launch()
	if err != nil {
		return 0, err
	}

	// The command ends with its context, and with the workload.
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		_, _ = w.WaitRun(running)
		cancel()
	}()
	defer func() { cancel(); <-watched }()

	code, err := d.exec(running, w, l, o)
	if cerr := ctx.Err(); cerr != nil {
		return 0, w.Errorf(drivers.ErrUnavailable, "%w", cerr)
	}
	if err != nil {
		return 0, w.Fail(err)
	}
	return code, nil
}

func errIfEmpty(command []string) error {
	if len(command) == 0 {
		return errors.New("there is no command")
	}
	return nil
}

func (d *Driver) exec(ctx context.Context, w *process.Workload, l *shim.Launch, o drivers.ExecOptions) (int, error) {
	cmd := exec.CommandContext(ctx, d.Config().ShimPath, "exec", w.Dir)
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = execDrain
	if l.Cgroup.V2 != "" {
		fd, err := unix.Open(l.Cgroup.V2, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		defer unix.Close(fd)
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	}
	words, err := commandFile(l, o)
	if err != nil {
		return 0, err
	}
	defer words.Close()
	cmd.ExtraFiles = []*os.File{words}
	if o.TTY {
		return runTTY(cmd, l, o)
	}
	return runPipes(cmd, o)
}

// commandFile returns a file that tells edgeshim the command; it is in memory
// only, for variables may be secrets.
func commandFile(l *shim.Launch, o drivers.ExecOptions) (*os.File, error) {
	x := shim.Launch{Argv: o.Command, Env: mergeEnv(l.Env, o.Env)}
	fd, err := unix.MemfdCreate("edgeio-exec", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "edgeio-exec")
	_, err = f.Write(x.Append(nil))
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// mergeEnv returns base with the variables of more added or replaced.
func mergeEnv(base []string, more map[string]string) []string {
	var env []string
	for _, e := range base {
		name, _, _ := strings.Cut(e, "=")
		if _, replaced := more[name]; !replaced {
			env = append(env, e)
		}
	}
	for name, value := range more {
		env = append(env, name+"="+value)
	}
	return env
}

func runPipes(cmd *exec.Cmd, o drivers.ExecOptions) (int, error) {
	cmd.Stdout, cmd.Stderr = o.Stdout, o.Stderr
	if o.Stdin != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		defer w.Close() // also ends the copying below, if it writes
		defer r.Close()
		cmd.Stdin = r
		go func() {
			_, _ = io.Copy(w, o.Stdin)
			w.Close()
		}()
	}
	return exitCode(cmd.Run())
}

// exitCode is the code of a command that was started.
func exitCode(err error) (int, error) {
	var ended *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return 0, nil
	case errors.As(err, &ended):
		status := ended.Sys().(syscall.WaitStatus)
		if status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return status.ExitStatus(), nil
	}
	return 0, err
}
