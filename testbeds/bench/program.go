package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// program is one of the programs of edgeIO, running.
type program struct {
	name  string
	cmd   *exec.Cmd
	out   *output
	ended chan struct{} // closed when it has ended
	err   error         // how; valid once ended is closed
}

// stopTimeout is how long a program has to end after SIGTERM.
const stopTimeout = 15 * time.Second

// start starts a program with additions to the environment.
func start(name string, env []string, argv ...string) (*program, error) {
	p := &program{name: name, out: newOutput(), ended: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	// A group of its own: an interrupt from the keyboard is for the bench, which
	// stops its programs in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w; build it with: make build", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *program) pid() int { return p.cmd.Process.Pid }

// said waits until the program has written something that matches and returns
// the groups of the match.
func (p *program) said(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	for {
		text, more := p.out.text()
		if m := re.FindStringSubmatch(text); m != nil {
			return m, nil
		}
		select {
		case <-more:
		case <-p.ended:
			return nil, fmt.Errorf("%s ended: %w\n%s", p.name, p.err, text)
		case <-ctx.Done():
			return nil, fmt.Errorf("%s does not say %q: %w\n%s", p.name, re, ctx.Err(), text)
		}
	}
}

// stop ends the program with SIGTERM, or with SIGKILL if that takes too long.
func (p *program) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopTimeout):
		p.kill()
		return fmt.Errorf("%s did not end within %s after SIGTERM", p.name, stopTimeout)
	}
}

// kill ends the program with SIGKILL.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// output keeps what a program writes.
type output struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed at the next write
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.b.Write(b)
}

func (o *output) text() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String(), o.more
}
