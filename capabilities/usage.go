package capabilities

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Usage is what is in use on a host, by whomever.
type Usage struct {
	CPUMillis   int64 `json:"cpu_millis"` // thousandths of a core, on average since the last sample
	MemoryBytes int64 `json:"memory_bytes"`
	DiskBytes   int64 `json:"disk_bytes"` // of the agent's file system
}

// Sampler measures a host's usage. It is safe for concurrent use; a sample
// reads two small files and costs well under a millisecond.
type Sampler struct {
	host Host

	mu   sync.Mutex
	last cpuTicks
}

// NewSampler returns a sampler whose first sample tells the CPU's use since the boot.
func NewSampler(host Host) *Sampler { return &Sampler{host: host} }

// Sample returns the usage now. With an error, what could not be read is zero
// and the rest is right.
func (s *Sampler) Sample(ctx context.Context) (Usage, error) {
	if err := ctx.Err(); err != nil {
		return Usage{}, err
	}
	var u Usage
	var cpuErr, memErr error
	u.CPUMillis, cpuErr = s.cpuMillis()
	if text, err := s.host.read("proc/meminfo"); err != nil {
		memErr = err
	} else if info, err := parseMemInfo(text); err != nil {
		memErr = err
	} else {
		u.MemoryBytes = info.total - info.available
	}
	total, free, _, diskErr := s.host.statfs()
	if diskErr == nil {
		u.DiskBytes = total - free
	}
	if err := errors.Join(cpuErr, memErr, diskErr); err != nil {
		return u, fmt.Errorf("sample usage: %w", err)
	}
	return u, nil
}

func (s *Sampler) cpuMillis() (int64, error) {
	text, err := s.readStat()
	if err != nil {
		return 0, err
	}
	now, err := parseStat(text)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last
	s.last = now
	return millis(last, now), nil
}

// millis is the share of busy ticks among all, in thousandths of a core: the
// ticks are their own clock. Counters may go back when a core is unplugged.
func millis(last, now cpuTicks) int64 {
	if now.total <= last.total || now.busy < last.busy {
		return 0
	}
	share := float64(now.busy-last.busy) / float64(now.total-last.total)
	return int64(min(share, 1) * float64(now.cores) * 1000)
}

// readStat reads the lines of the processors only: those of the interrupts
// that follow are long, and made by the kernel as they are read.
func (s *Sampler) readStat() (string, error) {
	f, err := s.host.open("proc/stat")
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // of a file that was only read
	var text strings.Builder
	lines := bufio.NewScanner(f)
	for lines.Scan() && bytes.HasPrefix(lines.Bytes(), []byte("cpu")) {
		text.Write(lines.Bytes())
		text.WriteByte('\n')
	}
	return text.String(), lines.Err()
}
