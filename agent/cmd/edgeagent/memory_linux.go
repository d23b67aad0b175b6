package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Much of the program is needed only while the agent starts.
const settleAfter = 5 * time.Second

// settle gives memory back once the agent has started: what the heap has free,
// and the pages of the program, of which the kernel maps far more than are
// used. Those that are needed come back from the page cache as they are.
// Whatever does not work only costs memory, so nobody is told.
func settle(ctx context.Context) {
	t := time.NewTimer(settleAfter)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return
	case <-t.C:
	}
	debug.FreeOSMemory()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer func() { _ = smaps.Close() }()
	for _, m := range cleanMappings(smaps, exe) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// cleanMappings reads /proc/PID/smaps and returns the mappings of exe that
// cannot be written and are as in the file, so that dropping them loses
// nothing:
//
//	00400000-00bf7000 r-xp 00000000 fe:00 1234   /usr/bin/edgeagent
//	…
//	Anonymous:             0 kB
func cleanMappings(smaps io.Reader, exe string) []mapping {
	var out []mapping
	var current mapping
	var ours bool
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		line := lines.Text()
		var m mapping
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s ", &m.start, &m.end, &mode); n == 3 {
			current = m
			ours = strings.HasSuffix(line, " "+exe) && strings.HasPrefix(mode, "r") && !strings.Contains(mode, "w") && m.end > m.start
			continue
		}
		if rest, ok := strings.CutPrefix(line, "Anonymous:"); ok && ours && strings.Join(strings.Fields(rest), " ") == "0 kB" {
			out = append(out, current)
		}
	}
	return out
}
