package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memoryKiB reads an entry, such as "Pss", of a file of /proc that counts in kB.
func memoryKiB(pid int, file, entry string) (float64, error) {
	path := fmt.Sprintf("/proc/%d/%s", pid, file)
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, entry+":"); ok {
			number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			return strconv.ParseFloat(number, 64)
		}
	}
	return 0, fmt.Errorf("%s has no entry %s", path, entry)
}

// rssMiB is the resident memory of a process.
func rssMiB(pid int) (float64, error) {
	kib, err := memoryKiB(pid, "status", "VmRSS")
	return kib / 1024, err
}

// cpuTime is the time that all threads of a process have spent on a CPU so
// far, to the nanosecond: idle programs use less than a clock tick.
func cpuTime(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, errors.Join(err, os.ErrNotExist))
	}
	var sum time.Duration
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue // the thread has just ended
		}
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", f, err)
		}
		sum += time.Duration(n)
	}
	return sum, nil
}

// processesOf lists the processes that have a folder in their command line, by
// process id, with their arguments.
func processesOf(dir string) map[int][]string {
	found := map[int][]string{}
	entries, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	for _, e := range entries {
		pid, err := strconv.Atoi(filepath.Base(e))
		if err != nil || pid == os.Getpid() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(e, "cmdline"))
		if err == nil && bytes.Contains(b, []byte(dir+"/")) {
			found[pid] = strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
		}
	}
	return found
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
