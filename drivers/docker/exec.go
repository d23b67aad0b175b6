package docker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

// Exec implements drivers.Execer. Ending the context kills the command and its
// process group where the daemon is on this machine and the agent may do so;
// elsewhere the API has no means: the command loses its input and its output.
//
// A blocked read of o.Stdin cannot be ended from here: its goroutine ends when
// that read returns.
func (d *Driver) Exec(ctx context.Context, h drivers.Handle, o drivers.ExecOptions) (int, error) {
	const op = "exec"
	id, err := d.containerOf(op, h)
	if err != nil {
		return 0, err
	}
	if len(o.Command) == 0 || o.Command[0] == "" {
		return 0, drivers.Errorf(drivers.ErrInvalid, op, h.ID, "no command is given")
	}
	api := d.api.Load()
	first := firstSize(o)
	execID, conn, err := d.startExec(ctx, api, id, o, first)
	if err != nil {
		return 0, d.fail(ctx, op, h.ID, err)
	}
	defer conn.Close()
	cancelled := context.AfterFunc(ctx, func() {
		d.killExec(api, id, execID)
		conn.Close()
	})
	defer cancelled()

	if o.Stdin != nil {
		go func() {
			_, _ = io.Copy(conn.Conn, o.Stdin)
			if !o.TTY { // a terminal that goes away would end the command
				_ = conn.CloseWrite()
			}
		}()
	}
	sizes, stopSizes := context.WithCancel(ctx)
	sized := make(chan struct{})
	go func() {
		defer close(sized)
		if o.TTY {
			forwardSizes(sizes, api, execID, first, o.Size)
		}
	}()
	err = passOutput(conn.HijackedResponse, o)
	stopSizes()
	<-sized
	if ctx.Err() != nil {
		return 0, d.fail(ctx, op, h.ID, ctx.Err())
	}
	if err != nil {
		return 0, d.fail(ctx, op, h.ID, fmt.Errorf("output: %w", err))
	}
	code, err := execResult(ctx, api, execID)
	if err != nil {
		return 0, d.fail(ctx, op, h.ID, err)
	}
	return code, nil
}

func (d *Driver) startExec(ctx context.Context, api *client.Client, id string, o drivers.ExecOptions, first drivers.TermSize) (string, *client.ExecAttachResult, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ChangeTimeout)
	defer cancel()
	made, err := api.ExecCreate(ctx, id, client.ExecCreateOptions{
		Cmd: o.Command, Env: environ(o.Env), TTY: o.TTY,
		AttachStdin: o.Stdin != nil, AttachStdout: true, AttachStderr: !o.TTY,
	})
	if err != nil {
		return "", nil, err
	}
	conn, err := api.ExecAttach(ctx, made.ID, client.ExecAttachOptions{
		TTY: o.TTY, ConsoleSize: client.ConsoleSize{Width: uint(first.Columns), Height: uint(first.Rows)},
	})
	if err != nil {
		return "", nil, err
	}
	return made.ID, &conn, nil
}

// passOutput copies what the command writes until its end.
func passOutput(conn client.HijackedResponse, o drivers.ExecOptions) error {
	stdout, stderr := o.Stdout, o.Stderr
	if stdout == nil {
		stdout = io.Discard
	}
	if stderr == nil {
		stderr = io.Discard
	}
	if o.TTY {
		_, err := io.Copy(stdout, conn.Reader)
		return err
	}
	_, err := stdcopy.StdCopy(stdout, stderr, conn.Reader)
	return err
}

// firstSize returns the size of the terminal at the start, zero if it is not known yet.
func firstSize(o drivers.ExecOptions) drivers.TermSize {
	if !o.TTY {
		return drivers.TermSize{}
	}
	select {
	case size := <-o.Size:
		return size
	default:
		return drivers.TermSize{}
	}
}

// forwardSizes passes on the sizes of the terminal. The first goes the same
// way, for daemons before API 1.42 do not take it with the start.
func forwardSizes(ctx context.Context, api *client.Client, execID string, first drivers.TermSize, sizes <-chan drivers.TermSize) {
	if first != (drivers.TermSize{}) {
		resize(ctx, api, execID, first)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case size, ok := <-sizes:
			if !ok {
				return
			}
			resize(ctx, api, execID, size)
		}
	}
}

// resize tries for a while: the command may not have a terminal yet.
func resize(ctx context.Context, api *client.Client, execID string, size drivers.TermSize) {
	for try := range 10 {
		_, err := api.ExecResize(ctx, execID, client.ExecResizeOptions{Height: uint(size.Rows), Width: uint(size.Columns)})
		if err == nil || ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(try+1) * 10 * time.Millisecond):
		}
	}
}

// execResult asks for the exit code. The output may end a moment before the
// daemon has noted the end of the command.
func execResult(ctx context.Context, api *client.Client, execID string) (int, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		res, err := api.ExecInspect(ctx, execID, client.ExecInspectOptions{})
		if err != nil {
			return 0, err
		}
		if !res.Running {
			return res.ExitCode, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// killExec ends a command and its process group, if it is a process of this machine.
func (d *Driver) killExec(api *client.Client, containerID, execID string) {
	if d.cfg.socketPath() == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.cfg.ProbeTimeout)
	defer cancel()
	pid := execPID(ctx, api, execID)
	if pid <= 1 {
		return
	}
	// The number is meaningful only if the daemon sees the same processes as we do.
	group, err := os.ReadFile(filepath.Join(d.cfg.ProcRoot, strconv.Itoa(pid), "cgroup"))
	if err != nil || !bytes.Contains(group, []byte(containerID)) {
		return
	}
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// execPID returns the process of a command, 0 if it has ended. The daemon
// learns it a moment after the command has begun, and may have written already.
func execPID(ctx context.Context, api *client.Client, execID string) int {
	for {
		res, err := api.ExecInspect(ctx, execID, client.ExecInspectOptions{})
		if err != nil || !res.Running {
			return 0
		}
		if res.PID > 0 {
			return res.PID
		}
		select {
		case <-ctx.Done():
			return 0
		case <-time.After(5 * time.Millisecond):
		}
	}
}
