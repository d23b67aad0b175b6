package node

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/agent/workload"
)

// Machine is what an agent needs to know of the node that it runs on.
type Machine struct {
	Arch          string // amd64, arm64 or arm
	Cores         int    // that processes may use
	MemoryBytes   int64  // in all
	DiskFreeBytes int64  // where the state directory is, when the agent started
	BootID        string // changes with each boot
	Report        []byte // capabilities, JSON; may be nil
}

// ReadMachine asks the kernel. root is where the host's file system is ("/"),
// disk the folder whose file system counts.
func ReadMachine(root, disk string) (Machine, error) {
	m := Machine{Arch: runtime.GOARCH, Cores: runtime.NumCPU()}
	boot, err := os.ReadFile(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	if err != nil {
		return m, fmt.Errorf("read the boot id: %w", err)
	}
	m.BootID = string(bytes.TrimSpace(boot))
	info, err := os.ReadFile(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return m, fmt.Errorf("read the amount of memory: %w", err)
	}
	if m.MemoryBytes, err = parseMemTotal(info); err != nil {
		return m, err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(disk, &fs); err != nil {
		return m, fmt.Errorf("read the free space of %s: %w", disk, err)
	}
	m.DiskFreeBytes = int64(fs.Bavail) * int64(fs.Bsize)
	return m, nil
}

// parseMemTotal finds "MemTotal: 16316412 kB" in /proc/meminfo.
func parseMemTotal(info []byte) (int64, error) {
	lines := bufio.NewScanner(bytes.NewReader(info))
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), "MemTotal:")
		if !ok {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		if err != nil || kb < 0 || kb > 1<<50 {
			return 0, fmt.Errorf("read the amount of memory: %q is no number of kB", rest)
		}
		return kb << 10, nil
	}
	return 0, fmt.Errorf("read the amount of memory: /proc/meminfo has no MemTotal")
}

// Bounds of what is kept back of the memory if nothing is configured.
const maxMemoryReserve = 512_000_000

// capacity is what the machine offers to jobs.
func (m Machine) capacity(r config.Reserve) workload.Resources {
	memory := r.MemoryMB * 1_000_000
	if r.MemoryMB < 0 {
		memory = min(m.MemoryBytes/10, maxMemoryReserve)
	}
	return workload.Resources{
		CPUMillis:   max(int64(m.Cores)*1000-int64(r.CPU*1000), 0),
		MemoryBytes: max(m.MemoryBytes-memory, 0),
		DiskBytes:   max(m.DiskFreeBytes-r.DiskMB*1_000_000, 0),
	}
}

// addresses are those under which others may reach the node.
func addresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			out = append(out, ip.IP.String())
		}
	}
	return out
}
