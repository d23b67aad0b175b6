package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Result is how a command ended.
type Result struct {
	Argv           []string
	Code           int
	Stdout, Stderr string
}

// String tells all of it.
func (r Result) String() string {
	return fmt.Sprintf("%s: exit code %d\nstdout: %s\nstderr: %s", strings.Join(r.Argv, " "), r.Code, r.Stdout, r.Stderr)
}

// Ctl runs edgectl as admin.
func (tr *Tree) Ctl(args ...string) Result { tr.t.Helper(); return tr.CtlWith("", args...) }

// CtlWith is Ctl with a standard input.
func (tr *Tree) CtlWith(stdin string, args ...string) Result {
	tr.t.Helper()
	return tr.execute(stdin, "edgectl", args)
}

// Exec runs one of the programs to its end.
func (tr *Tree) Exec(program string, args ...string) Result {
	tr.t.Helper()
	return tr.execute("", program, args)
}

// commandTimeout bounds one command.
const commandTimeout = 30 * time.Second

func (tr *Tree) execute(stdin, program string, args []string) Result {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, tr.programs.path(program), args...)
	cmd.Env = append(os.Environ(), "EDGECTL_CONFIG="+tr.ctlConfig(), tr.raceOptions())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		// Commands may run in goroutines of their own, which must not end the test.
		fmt.Fprintf(&stderr, "killed: it did not end within %s\n", commandTimeout)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Result{append([]string{program}, args...), -1, "", err.Error()}
	}
	return Result{append([]string{program}, args...), cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}
