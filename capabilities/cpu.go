package capabilities

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
)

// cpu finds the processors.
type cpu struct{}

func (cpu) Name() string { return "cpu" }

func (cpu) Probe(ctx context.Context, h Host) (func(*Report), error) {
	text, err := h.read("proc/cpuinfo")
	if err != nil {
		return nil, err
	}
	c := parseCPUInfo(text)
	if c.Cores == 0 {
		err = errors.New("/proc/cpuinfo lists no processor")
	}
	siblings, packages := map[string]bool{}, map[string]bool{}
	const dir = "sys/devices/system/cpu"
	for _, folder := range h.matches(dir, "cpu[0-9]*") {
		if ctx.Err() != nil {
			break
		}
		if s := h.text(folder + "/topology/thread_siblings_list"); s != "" {
			siblings[s] = true
			packages[h.text(folder+"/topology/physical_package_id")] = true
		}
		if c.MaxMHz == 0 || isFirstOfCluster(h, folder) { // sorts of cores differ in it
			c.MaxMHz = max(c.MaxMHz, int(h.number(folder+"/cpufreq/cpuinfo_max_freq")/1000))
		}
	}
	c.Physical, c.Sockets = min(len(siblings), c.Cores), min(len(packages), c.Cores)
	if c.MaxMHz < 0 || c.MaxMHz > 100_000 {
		c.MaxMHz = 0
	}
	for _, node := range h.matches("sys/devices/system/node", "node[0-9]*") {
		if h.text(node+"/cpulist") != "" || len(h.matches(node, "cpu[0-9]*")) > 0 {
			c.NUMANodes++
		}
	}
	return func(r *Report) { r.CPU = c }, err
}

// isFirstOfCluster tells whether a core is the one that names its frequency
// policy, so that the frequency is read once for each sort of cores.
func isFirstOfCluster(h Host, folder string) bool {
	policy := h.target(folder + "/cpufreq")
	return policy == "" || strings.TrimPrefix(policy, "policy") == strings.TrimPrefix(path.Base(folder), "cpu")
}

// cpuInfoValue returns the value of a key of /proc/cpuinfo.
func cpuInfoValue(text, key string) string {
	for line := range strings.Lines(text) {
		if k, v, _ := strings.Cut(line, ":"); strings.TrimSpace(k) == key {
			return clean(v)
		}
	}
	return ""
}

// parseCPUInfo reads /proc/cpuinfo, whose keys differ between architectures.
func parseCPUInfo(text string) CPU {
	var c CPU
	var implementer, architecture, named string
	var parts, flags []string
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "processor":
			if _, err := strconv.ParseUint(value, 10, 16); err == nil { // old ARM kernels put the model here too
				c.Cores++
			}
		case "model name":
			named = value
		case "vendor_id":
			c.Vendor = cmp.Or(map[string]string{"GenuineIntel": "Intel", "AuthenticAMD": "AMD"}[value], clean(value))
		case "CPU implementer":
			implementer = value
		case "CPU architecture":
			architecture = value
		case "CPU part":
			if !slices.Contains(parts, value) && len(parts) < 8 {
				parts = append(parts, value)
			}
		case "flags", "Features":
			if flags == nil {
				flags = strings.Fields(value)
			}
		}
	}
	c.Model = clean(named[:min(len(named), maxLineBytes)])
	if implementer != "" {
		c.Vendor, c.Model = armModel(implementer, parts)
	}
	if implementer == "" {
		flags = slices.DeleteFunc(flags, func(f string) bool { return f == "sme" }) // AMD's encryption of memory
	}
	c.Features = cpuFeatures(flags)
	c.Variant = cpuVariant(architecture, named, flags)
	return c
}

// armModel names cores by the numbers of their MIDR register, which Arm's
// technical reference manuals list. Of several sorts the fastest is named.
func armModel(implementer string, parts []string) (vendor, model string) {
	vendor = cmp.Or(map[string]string{
		"0x41": "Arm", "0x42": "Broadcom", "0x43": "Cavium", "0x48": "HiSilicon", "0x4e": "NVIDIA", "0x51": "Qualcomm", "0x61": "Apple", "0xc0": "Ampere",
	}[implementer], clean(implementer))
	best := -1
	for _, part := range parts {
		i := slices.IndexFunc(armCores, func(c armCore) bool { return c.id == implementer+"/"+part })
		if i > best {
			best = i
		}
	}
	if best >= 0 {
		return vendor, armCores[best].name
	}
	return vendor, clean("ARM " + implementer + "/" + strings.Join(parts, "+"))
}

type armCore struct{ id, name string }

// armCores are cores of boards that are about, slow ones first.
var armCores = []armCore{
	{"0x41/0xb76", "ARM1176"}, {"0x41/0xc05", "Cortex-A5"}, {"0x41/0xc07", "Cortex-A7"}, {"0x41/0xc08", "Cortex-A8"}, {"0x41/0xc09", "Cortex-A9"},
	{"0x41/0xc0f", "Cortex-A15"}, {"0x41/0xc0e", "Cortex-A17"}, {"0x41/0xd04", "Cortex-A35"}, {"0x41/0xd03", "Cortex-A53"}, {"0x41/0xd05", "Cortex-A55"},
	{"0x41/0xd07", "Cortex-A57"}, {"0x41/0xd08", "Cortex-A72"}, {"0x41/0xd09", "Cortex-A73"}, {"0x4e/0x003", "Denver 2"}, {"0x4e/0x004", "Carmel"},
	{"0x41/0xd0a", "Cortex-A75"}, {"0x41/0xd0b", "Cortex-A76"}, {"0x41/0xd41", "Cortex-A78"}, {"0x41/0xd42", "Cortex-A78AE"}, {"0x41/0xd0c", "Neoverse-N1"},
	{"0x41/0xd49", "Neoverse-N2"}, {"0x41/0xd40", "Neoverse-V1"}, {"0x41/0xd4f", "Neoverse-V2"}, {"0xc0/0xac3", "AmpereOne"},
}

// featureNames are flags of /proc/cpuinfo that programs and models are built
// for, and what we call them: one name on all architectures.
var featureNames = map[string]string{
	"sse4_2": "sse4.2", "avx": "avx", "avx2": "avx2", "avx512f": "avx512f", "avx512_vnni": "avx512-vnni", "avx_vnni": "avx-vnni", "avx512_bf16": "avx512-bf16",
	"amx_tile": "amx", "amx_int8": "amx-int8", "amx_bf16": "amx-bf16", "fma": "fma", "f16c": "f16c", "bmi2": "bmi2", "sha_ni": "sha", "vmx": "vmx", "svm": "svm",
	"vfpv3": "vfpv3", "vfpv4": "vfpv4", "vfp": "vfp", "neon": "neon", "asimd": "neon", "asimdhp": "fp16", "asimddp": "dotprod", "i8mm": "i8mm", "bf16": "bf16",
	"sve": "sve", "sve2": "sve2", "sme": "sme", "atomics": "lse", "crc32": "crc32", "aes": "aes", "sha2": "sha", "sha1": "sha1",
}

func cpuFeatures(flags []string) []string {
	var out []string
	for _, flag := range flags {
		if name := featureNames[flag]; name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// amd64Levels are what each level of x86-64 adds, by the psABI, in the
// kernel's names.
var amd64Levels = [][]string{
	{"lm", "sse2", "fxsr", "cx8", "cmov"},
	{"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"},
	{"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"},
	{"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}

// cpuVariant is the variant of the architecture. Kernels say 7 of a Raspberry
// Pi Zero, whose core is of version 6, but name it right.
func cpuVariant(architecture, named string, flags []string) string {
	if architecture != "" {
		switch {
		case strings.Contains(named, "ARMv6"), strings.HasPrefix(architecture, "6"):
			return "v6"
		case strings.HasPrefix(architecture, "7"):
			return "v7"
		case strings.HasPrefix(architecture, "8"), architecture == "AArch64":
			return "v8"
		}
		return ""
	}
	level := 0
	for _, needed := range amd64Levels {
		if slices.ContainsFunc(needed, func(f string) bool { return !slices.Contains(flags, f) }) {
			break
		}
		level++
	}
	if level == 0 {
		return ""
	}
	return "v" + strconv.Itoa(level)
}
