package capabilities

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// normaliseArch turns the kernel's name of an architecture into Go's; empty if
// edgeIO does not run on it.
func normaliseArch(machine string) string {
	switch {
	case machine == "x86_64" || machine == "amd64":
		return "amd64"
	case machine == "aarch64" || machine == "arm64":
		return "arm64"
	case strings.HasPrefix(machine, "arm"): // armv6l, armv7l, armv8l, arm
		return "arm"
	}
	return ""
}

// parseOSRelease reads os-release(5).
func parseOSRelease(text string) OS {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if found && !strings.HasPrefix(key, "#") {
			fields[key] = unquote(value)
		}
	}
	name := fields["PRETTY_NAME"]
	if name == "" {
		name = fields["NAME"]
	}
	return OS{ID: fields["ID"], Name: name, Version: fields["VERSION_ID"]}
}

// unquote takes off a shell's quotes; escapes are as in double quotes.
func unquote(s string) string {
	if len(s) < 2 || (s[0] != '"' && s[0] != '\'') || s[len(s)-1] != s[0] {
		return s
	}
	inner := s[1 : len(s)-1]
	if s[0] == '\'' {
		return inner
	}
	return strings.NewReplacer(`\"`, `"`, `\$`, `$`, "\\`", "`", `\\`, `\`).Replace(inner)
}

// parseCPUInfo reads /proc/cpuinfo, whose keys differ between architectures.
func parseCPUInfo(text string) (c CPU, board string) {
	var implementer, part string
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "processor":
			if _, err := strconv.ParseUint(value, 10, 16); err == nil { // old ARM kernels put the model here too
				c.Cores++
			}
		case "model name":
			c.Model = value
		case "CPU implementer":
			implementer = value
		case "CPU part":
			part = value
		case "Model": // Raspberry Pi
			board = value
		}
	}
	if name := armModel(implementer, part); name != "" {
		c.Model = name
	}
	return c, board
}

// armModel names a core by the numbers of its MIDR register; Arm's technical
// reference manuals list them. Those of boards that are about.
func armModel(implementer, part string) string {
	if implementer == "" {
		return ""
	}
	if implementer == "0x41" {
		switch part {
		case "0xb76":
			return "ARM1176"
		case "0xc07":
			return "Cortex-A7"
		case "0xc08":
			return "Cortex-A8"
		case "0xc09":
			return "Cortex-A9"
		case "0xd03":
			return "Cortex-A53"
		case "0xd04":
			return "Cortex-A35"
		case "0xd05":
			return "Cortex-A55"
		case "0xd07":
			return "Cortex-A57"
		case "0xd08":
			return "Cortex-A72"
		case "0xd0b":
			return "Cortex-A76"
		case "0xd0c":
			return "Neoverse-N1"
		}
	}
	return "ARM " + implementer + "/" + part
}

type memInfo struct{ total, available int64 } // bytes

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
	m := memInfo{total: fields["MemTotal"]}
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

// addresses reads the host's own addresses out of /proc/net/fib_trie, where
// they are the leaves "/32 host LOCAL", and /proc/net/if_inet6.
func addresses(fibTrie, ifInet6 string) []string {
	var all []netip.Addr
	var leaf string
	for line := range strings.Lines(fibTrie) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "|-- "); ok {
			leaf = rest
		} else if line == "/32 host LOCAL" {
			if addr, err := netip.ParseAddr(leaf); err == nil {
				all = append(all, addr)
			}
		}
	}
	for line := range strings.Lines(ifInet6) {
		digits, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		raw, err := hex.DecodeString(digits)
		if addr, ok := netip.AddrFromSlice(raw); err == nil && ok && addr.Is6() {
			all = append(all, addr)
		}
	}
	all = slices.DeleteFunc(all, func(a netip.Addr) bool { return !a.IsGlobalUnicast() })
	slices.SortFunc(all, netip.Addr.Compare)
	texts := []string{}
	for _, a := range slices.Compact(all) {
		texts = append(texts, a.String())
	}
	return texts
}
