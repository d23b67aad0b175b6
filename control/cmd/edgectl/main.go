// Command edgectl is the user's command line: it deploys jobs and looks after
// them, clusters and nodes through the REST API of an edgeIO root or cluster.
//
// It keeps nothing but its configuration (address, authority, token). It is
// made for people and scripts alike: tables, or JSON with -o json, and exit
// codes that tell what went wrong.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.Getenv, now: time.Now,
		errTerminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
	code := p.run(ctx, os.Args)
	stop()
	os.Exit(code)
}
