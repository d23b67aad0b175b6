//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/edgeio/edgeio/control/api"
)

// resizes tells the size of a terminal each time it has changed, until ctx ends.
func resizes(ctx context.Context, f *os.File) <-chan api.TermSize {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	sizes := make(chan api.TermSize)
	go func() {
		defer close(sizes)
		defer signal.Stop(changed)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			select {
			case <-ctx.Done():
				return
			case sizes <- terminalSize(f):
			}
		}
	}()
	return sizes
}
