package shim

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
)

// BootID names the current boot of the machine.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// Stat is what /proc/PID/stat says; see proc_pid_stat(5).
type Stat struct {
	State  byte // 'R', 'S', 'Z', …
	Parent int
	Start  uint64 // clock ticks since boot
	Ticks  uint64 // user and system time, also that of children waited for
	Pages  int64  // resident
}

// Dead tells whether the process has ended, though its parent has not noticed yet.
func (s Stat) Dead() bool { return s.State == 'Z' || s.State == 'X' }

// ReadStat reads /proc/PID/stat.
func ReadStat(pid int) (Stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, err
	}
	return parseStat(b)
}

var errStat = errors.New("unexpected content of /proc/PID/stat")

func parseStat(b []byte) (Stat, error) {
	// The second field is the program's name in brackets; it may hold anything.
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return Stat{}, errStat
	}
	f := strings.Fields(string(b[i+1:])) // f[0] is field 3
	if len(f) < 22 || len(f[0]) != 1 {
		return Stat{}, errStat
	}
	s := Stat{State: f[0][0]}
	var errs [7]error
	s.Parent, errs[0] = strconv.Atoi(f[1])
	s.Start, errs[1] = strconv.ParseUint(f[19], 10, 64)
	s.Pages, errs[2] = strconv.ParseInt(f[21], 10, 64)
	for i, field := range f[11:15] {
		var ticks uint64
		ticks, errs[3+i] = strconv.ParseUint(field, 10, 64)
		s.Ticks += ticks
	}
	return s, errors.Join(errs[:]...)
}

// Alive tells whether p still runs. It does not look at the boot.
func (p Process) Alive() bool {
	s, err := ReadStat(p.PID)
	return err == nil && s.Start == p.Start && !s.Dead()
}

// Descendants returns the living descendants of root, found by walking /proc.
func Descendants(root int) []int {
	children := map[int][]int{}
	names, _ := readNames("/proc")
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, err := ReadStat(pid); err == nil && !s.Dead() {
			children[s.Parent] = append(children[s.Parent], pid)
		}
	}
	found := append([]int(nil), children[root]...)
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

// Marker is the variable that every process of a workload inherits. Where
// there are no control groups it is what strays are found by.
const Marker = "EDGEIO_WORKLOAD"

// Marked returns the living processes that were started with Marker set to value.
func Marked(value string) []int {
	if value == "" {
		return nil
	}
	want := []byte(Marker + "=" + value)
	var found []int
	names, _ := readNames("/proc")
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + name + "/environ")
		if err != nil {
			continue
		}
		for e := range bytes.SplitSeq(b, []byte{0}) {
			if bytes.Equal(e, want) {
				found = append(found, pid)
				break
			}
		}
	}
	return found
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
