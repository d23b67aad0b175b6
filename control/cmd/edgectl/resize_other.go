//go:build !unix

package main

import (
	"context"
	"os"
	"time"

	"github.com/edgeio/edgeio/control/api"
)

// resizes tells the size of a terminal each time it has changed, until ctx
// ends. There is no signal for it here, so it looks now and then.
func resizes(ctx context.Context, f *os.File) <-chan api.TermSize {
	sizes := make(chan api.TermSize)
	go func() {
		defer close(sizes)
		t := time.NewTicker(500 * time.Millisecond)
		defer t.Stop()
		last := terminalSize(f)
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			size := terminalSize(f)
			if size == last {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case sizes <- size:
				last = size
			}
		}
	}()
	return sizes
}
