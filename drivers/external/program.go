package external

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 15 * time.Second // until a program has answered the handshake
	stopTimeout  = 5 * time.Second  // until one that is to end is killed
	hangTimeout  = 10 * time.Second // until one that answers nothing is killed; Config.hang in tests
	outputDrain  = time.Second      // for output that is left when it has ended

	restartBase = 250 * time.Millisecond
	restartCap  = time.Minute
	settled     = time.Minute // a program that lived so long is not to blame
)

// restartDelay returns how long to wait before the program is started again
// after so many failures in a row; r is drawn from [0,1). It is anything up to
// the bound ("full jitter"), as what made one program fail may do so to all.
func restartDelay(failures int, r float64) time.Duration {
	bound := restartBase << min(max(failures-1, 0), 16)
	return time.Duration(r * float64(min(bound, restartCap)))
}

// supervise keeps the program running until ctx ends.
func (d *Driver) supervise(ctx context.Context) {
	defer d.set(closed, "")
	for failures := 0; ; {
		d.set(starting, "")
		began := time.Now()
		err := d.live(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= settled {
			failures = 0
		}
		failures++
		delay := restartDelay(failures, rand.Float64())
		d.log.Warn("driver program ended", "program", d.cfg.Path, "error", err, "restart_in", delay)
		d.set(away, err.Error())
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return
		}
	}
}

// live is one life of the program. It returns why that ended.
func (d *Driver) live(ctx context.Context) error {
	if err := os.Remove(d.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket of the program before: %w", err)
	}
	said := &relay{log: d.log}
	cmd, stdin, err := d.command(said)
	if err != nil {
		return err
	}
	d.pid.Store(int64(cmd.Process.Pid))
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	ended := func(err error) error { return d.obituary(err, said) }

	err = d.handshake(ctx, exited)
	if early, ok := err.(*endedError); ok {
		return ended(early.err)
	}
	if err != nil {
		terminate(cmd, stdin, exited)
		return fmt.Errorf("the driver program %s does not work: %w", d.cfg.Path, err)
	}
	d.set(ready, "")
	for {
		select {
		case err := <-exited:
			return ended(err)
		case <-ctx.Done():
			terminate(cmd, stdin, exited)
			return ctx.Err()
		case <-d.suspicion:
			if d.alive(ctx) || ctx.Err() != nil {
				continue
			}
			_ = cmd.Process.Kill()
			<-exited
			return fmt.Errorf("the driver program %s did not answer for %v and was killed", d.cfg.Path, d.cfg.hang)
		}
	}
}

// command starts the program. It ends when its standard input does: also if
// the agent is killed.
func (d *Driver) command(said io.Writer) (*exec.Cmd, io.Closer, error) {
	cmd := exec.Command(d.cfg.Path)
	cmd.Dir = d.cfg.Dir
	for _, e := range os.Environ() {
		// What is set for the agent may be secret.
		if !strings.HasPrefix(e, "EDGEAGENT_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, EnvSocket+"="+d.socket(), EnvDir+"="+d.cfg.Dir, EnvAgent+"="+d.cfg.AgentID)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = outputDrain // a workload may hold on to the output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start the driver program: %w", err)
	}
	if err := cmd.Start(); err != nil {
		_ = stdin.Close()
		return nil, nil, fmt.Errorf("start the driver program: %w", err)
	}
	return cmd, stdin, nil
}

// terminate ends the program, by force if need be.
func terminate(cmd *exec.Cmd, stdin io.Closer, exited <-chan error) {
	_ = stdin.Close()
	late := time.NewTimer(stopTimeout)
	defer late.Stop()
	select {
	case <-exited:
	case <-late.C:
		_ = cmd.Process.Kill()
		<-exited
	}
}

// endedError is the end of the process during the handshake.
type endedError struct{ err error }

func (e *endedError) Error() string { return "the program ended" }

// handshake waits until the program answers.
func (d *Driver) handshake(ctx context.Context, exited <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := client{dial: d.dialNow, suspect: func() {}}
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		h, err := c.hello(ctx)
		var lost *lostError
		switch {
		case err == nil && h.Protocol != Protocol:
			return fmt.Errorf("it speaks version %d of the driver protocol, this agent version %d: install matching ones", h.Protocol, Protocol)
		case err == nil:
			d.log.Info("driver program ready", "program", d.cfg.Path, "runtime", d.cfg.Name, "says", h.Name, "features", h.Features)
			return nil
		case errors.Is(err, errMalformed) || !errors.As(err, &lost) && ctx.Err() == nil:
			return err
		}
		select {
		case err := <-exited:
			return &endedError{err}
		case <-ctx.Done():
			return fmt.Errorf("no answer on its socket within %v", startTimeout)
		case <-time.After(pause): // it does not listen yet
		}
	}
}

// alive asks the program for a sign of life.
func (d *Driver) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.hang)
	defer cancel()
	c := client{dial: d.dialNow, suspect: func() {}}
	_, err := c.hello(ctx)
	// One that cannot be reached has ended, or is about to be found so.
	return ctx.Err() == nil || err == nil
}

// dialNow connects to the program whether or not it is known to be ready.
func (d *Driver) dialNow(ctx context.Context) (net.Conn, error) { return dial(ctx, d.socket()) }

// obituary says how the program ended, with its last words.
func (d *Driver) obituary(err error, said *relay) error {
	how := "ended by itself"
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		how = "ended with " + exit.String()
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		how = "ended: " + err.Error()
	}
	if last := said.last(); last != "" {
		how += "; its last words: " + last
	}
	return fmt.Errorf("the driver program %s %s", d.cfg.Path, how)
}

// relay passes what a program writes on to the log, by lines.
type relay struct {
	log *slog.Logger

	mu   sync.Mutex
	line []byte // not complete yet
	text string // of the last complete one
}

// maxLine is where a line that does not end is cut.
const maxLine = 4096

func (r *relay) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		piece, rest, complete := bytes.Cut(p, []byte("\n"))
		if room := maxLine - len(r.line); len(piece) > room {
			piece, rest, complete = p[:room], p[room:], true
		}
		r.line = append(r.line, piece...)
		if complete {
			r.flush()
		}
		p = rest
	}
	return n, nil
}

func (r *relay) flush() {
	if text := strings.TrimSpace(strings.ToValidUTF8(string(r.line), "?")); text != "" {
		r.text = text
		r.log.Info("driver program says", "line", text)
	}
	r.line = r.line[:0]
}

// last returns the last line, short enough for a reason.
func (r *relay) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
	return clip(r.text, 200)
}

// socketDirs begins the names of the folders that have a socket; the id of the
// process that made them follows.
const socketDirs = "edgedriver-"

// maxSocket is what a Unix socket's path may have, less some room.
const maxSocket = 100

// makeSocketDir returns a new folder for a socket that nobody else can reach:
// two agents may use one state folder for a moment, as "drivers list" does. It
// removes those of processes that were killed.
func makeSocketDir(state string) (string, error) {
	parent := state
	if len(state)+len("/edgedriver-4194304-1234567890/s") > maxSocket {
		parent = os.TempDir()
	}
	old, _ := filepath.Glob(filepath.Join(parent, socketDirs+"[0-9]*-*")) // the pattern is well formed
	for _, dir := range old {
		digits, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), socketDirs), "-")
		if pid, err := strconv.Atoi(digits); err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir) // it is in nobody's way
		}
	}
	return os.MkdirTemp(parent, fmt.Sprintf("%s%d-*", socketDirs, os.Getpid()))
}
