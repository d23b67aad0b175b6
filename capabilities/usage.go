package capabilities

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Usage is what is in use on a host, by whomever. Counters go on from the
// boot, so that a lost sample loses nothing; what cannot be measured is zero.
type Usage struct {
	At                time.Time  `json:"at"`         // with a monotonic reading
	CPUMillis         int64      `json:"cpu_millis"` // thousandths of a core, on average since the last sample
	MemoryBytes       int64      `json:"memory_bytes"`
	SwapBytes         int64      `json:"swap_bytes,omitempty"`
	DiskBytes         int64      `json:"disk_bytes"`                    // of the agent's file system
	Load1             float64    `json:"load1"`                         // average of runnable tasks over a minute
	DiskReadBytes     int64      `json:"disk_read_bytes,omitempty"`     // counter, of all drives
	DiskWrittenBytes  int64      `json:"disk_written_bytes,omitempty"`  // counter
	NetworkRxBytes    int64      `json:"network_rx_bytes,omitempty"`    // counter, of all interfaces with hardware
	NetworkTxBytes    int64      `json:"network_tx_bytes,omitempty"`    // counter
	TemperatureMilliC int64      `json:"temperature_milli_c,omitempty"` // of the hottest place in the chips
	Throttled         []string   `json:"throttled,omitempty"`           // why the machine is slower than it could be: heat, under-voltage, frequency-cap
	GPUs              []GPUUsage `json:"gpus,omitempty"`
}

// GPUUsage is how busy a GPU is.
type GPUUsage struct {
	Device      string `json:"device"` // ID in the Report
	Percent     int    `json:"percent"`
	MemoryBytes int64  `json:"memory_bytes,omitempty"` // in use, of its own
}

// Sampler measures a host's usage. It is safe for concurrent use; a sample
// reads a dozen small files and costs about a millisecond.
type Sampler struct {
	host Host

	mu      sync.Mutex
	last    cpuTicks
	sources sources
	heat    int64 // throttle events of x86 so far
	samples int
}

// NewSampler returns a sampler whose first sample tells the CPU's use since the boot.
func NewSampler(host Host) *Sampler { return &Sampler{host: host} }

// Sample returns the usage now. With an error, what could not be read is zero
// and the rest is right.
func (s *Sampler) Sample(ctx context.Context) (Usage, error) {
	if err := ctx.Err(); err != nil {
		return Usage{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	const rescan = 40 // ten minutes at the usual interval: sensors seldom come or go
	if s.samples%rescan == 0 {
		s.sources = s.host.findSources()
	}
	s.samples++
	u := Usage{At: time.Now()}
	var cpuErr, memErr error
	u.CPUMillis, cpuErr = s.cpuMillis()
	if text, err := s.host.readSome("proc/meminfo", 64<<10); err != nil {
		memErr = err
	} else if info, err := parseMemInfo(text); err != nil {
		memErr = err
	} else {
		u.MemoryBytes, u.SwapBytes = info.total-info.available, max(info.swap-info.swapFree, 0)
	}
	total, free, _, diskErr := s.host.statfs()
	if diskErr == nil {
		u.DiskBytes = total - free
	}
	first, _, _ := strings.Cut(s.host.text("proc/loadavg"), " ")
	if load, err := strconv.ParseFloat(first, 64); err == nil && load >= 0 && load < 1e6 {
		u.Load1 = load
	}
	u.DiskReadBytes, u.DiskWrittenBytes = s.host.diskCounters()
	u.NetworkRxBytes, u.NetworkTxBytes = s.host.networkCounters()
	u.TemperatureMilliC = s.sources.temperature(s.host)
	u.Throttled = s.throttled()
	u.GPUs = s.sources.gpuUsage(s.host)
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
	for lines.Scan() && bytes.HasPrefix(lines.Bytes(), []byte("cpu")) && text.Len() < maxFileBytes {
		text.Write(lines.Bytes())
		text.WriteByte('\n')
	}
	return text.String(), lines.Err()
}

type cpuTicks struct {
	busy, total uint64
	cores       int
}

// parseStat reads the first lines of /proc/stat, see proc_stat(5). Guests'
// time is contained in user time already; waiting for a disk is not work.
func parseStat(text string) (cpuTicks, error) {
	var t cpuTicks
	found := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[0], "cpu") {
			break
		}
		if fields[0] != "cpu" {
			t.cores++
			continue
		}
		found = true
		for i, f := range fields[1:min(len(fields), 9)] {
			n, err := strconv.ParseUint(f, 10, 56) // eight of them stay in range
			if err != nil {
				return cpuTicks{}, fmt.Errorf("/proc/stat: %w", err)
			}
			t.total += n
			if i != 3 && i != 4 { // idle, iowait
				t.busy += n
			}
		}
	}
	if !found || t.cores == 0 {
		return cpuTicks{}, errors.New("/proc/stat tells nothing of the processors")
	}
	return t, nil
}

// diskCounters sums up /proc/diskstats over the drives, partitions left out.
func (h Host) diskCounters() (read, written int64) {
	text, _ := h.readSome("proc/diskstats", 256<<10)
	drives := h.names("sys/block")
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 10 || !isDrive(f[2]) || !slices.Contains(drives, f[2]) {
			continue
		}
		read, written = read+counter(f[5])*512, written+counter(f[9])*512 // sectors
	}
	return read, written
}

// networkCounters sums up /proc/net/dev over the interfaces that have hardware:
// what goes through a bridge would be counted twice.
func (h Host) networkCounters() (received, sent int64) {
	text, _ := h.readSome("proc/net/dev", 256<<10)
	for line := range strings.Lines(text) {
		name, rest, found := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !found || len(f) < 9 || !h.exists("sys/class/net/"+strings.TrimSpace(name)+"/device") {
			continue
		}
		received, sent = received+counter(f[0]), sent+counter(f[8])
	}
	return received, sent
}

// counter reads a counter so that sums, also of sectors, stay in range.
func counter(s string) int64 {
	n, err := strconv.ParseUint(s, 10, 50)
	if err != nil {
		return 0
	}
	return int64(n)
}
