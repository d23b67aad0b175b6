package capabilities

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
)

// memory finds the sizes of main memory, swap, and pools of huge pages.
type memory struct{}

func (memory) Name() string { return "memory" }

func (memory) Probe(_ context.Context, h Host) (func(*Report), error) {
	text, err := h.readSome("proc/meminfo", 64<<10)
	if err != nil {
		return nil, err
	}
	info, err := parseMemInfo(text)
	if err != nil {
		return nil, err
	}
	m := Memory{TotalBytes: info.total, SwapBytes: info.swap}
	for _, dir := range h.matches("sys/kernel/mm/hugepages", "hugepages-*kB") {
		size := strings.TrimSuffix(strings.TrimPrefix(dir, "sys/kernel/mm/hugepages/hugepages-"), "kB")
		kib, err := strconv.ParseInt(size, 10, 40)
		if n := h.number(dir + "/nr_hugepages"); err == nil && kib > 0 && n > 0 {
			m.HugePages = append(m.HugePages, HugePages{SizeBytes: kib << 10, Total: n})
		}
	}
	return func(r *Report) { r.Memory = m }, nil
}

type memInfo struct{ total, available, swap, swapFree int64 } // bytes

// parseMemInfo reads /proc/meminfo. Kernels before 3.14 do not tell what is
// available; then it is estimated.
func parseMemInfo(text string) (memInfo, error) {
	fields := map[string]int64{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err == nil && kib >= 0 && kib <= math.MaxInt64>>12 { // sums stay in range
			fields[key] = kib << 10
		}
	}
	m := memInfo{total: fields["MemTotal"], swap: fields["SwapTotal"], swapFree: fields["SwapFree"]}
	if m.total == 0 {
		return memInfo{}, errors.New("/proc/meminfo tells no MemTotal")
	}
	available, known := fields["MemAvailable"]
	if !known {
		available = fields["MemFree"] + fields["Buffers"] + fields["Cached"]
	}
	m.available = min(available, m.total)
	return m, nil
}
