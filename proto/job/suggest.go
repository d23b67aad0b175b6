package job

import (
	"maps"
	"slices"
	"strings"
)

// habits are names that people bring along from other systems, and what they
// are called here.
var habits = map[string]string{
	"name": "job_name", "runtime": "image_runtime", "driver": "image_runtime", "version": "api_version",
	"environment": "env", "cmd": "command", "entrypoint": "command", "arguments": "args",
	"gpus": "gpu", "graphics": "gpu", "tpu": "npu", "device": "devices", "affinity": "affinities", "constraint": "constraints",
	"node_selector": "constraints", "toleration": "tolerations", "key": "label", "value": "values",
	"working_dir": "workdir", "working_directory": "workdir", "cwd": "workdir", "architecture": "arch", "platform": "arch",
	"cluster": "cluster_location", "location": "cluster_location", "node": "worker_node", "resources": "requirements",
	"cpus": "cpu", "cores": "cpu", "mem": "memory", "ram": "memory", "storage": "disk",
	"restart_policy": "restart", "checksum": "sha256", "digest": "sha256", "count": "replicas",
	"container_port": "port", "published": "host_port", "max_attempts": "attempts", "retries": "attempts", "timeout": "grace",
	"x86_64": "amd64", "x64": "amd64", "aarch64": "arm64", "armhf": "arm", "armv6": "arm", "armv7": "arm", "armv7l": "arm",
	"no": "never", "false": "never", "unless_stopped": "always", "true": "always",
	"unikernel": "mirage", "solo5": "mirage", "libvirt": "kvm", "qemu": "kvm", "process": "native", "exec": "native", "job": "batch",
}

// didYouMean is "; did you mean X?" where one of known is close to name, else
// empty.
func didYouMean(name string, known []string) string {
	if best := closest(name, known); best != "" {
		return "; did you mean " + best + "?"
	}
	return ""
}

func closest(name string, known []string) string {
	const longest = 40 // nobody mistypes a known name into something longer
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	if len(name) > longest {
		return ""
	}
	if h := habits[name]; slices.Contains(known, h) {
		return h
	}
	best, least := "", max(1, len(name)/3)+1
	for _, habit := range slices.Sorted(maps.Keys(habits)) {
		if d := distance(name, habit); d < min(least, 3) && len(habit) > 5 && slices.Contains(known, habits[habit]) {
			best, least = habits[habit], d
		}
	}
	for _, k := range known {
		if d := distance(name, strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace, or to swap
// with a neighbour, to make b of a (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			swap := 1
			if a[i-1] == b[j-1] {
				swap = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+swap)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
