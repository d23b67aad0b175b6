package capabilities

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// sources are the files that tell of heat and of GPUs on one host. Most of
// what hwmon and the thermal zones have is left alone: some sensors take long
// to read, or wake up a disk.
type sources struct {
	temperatures []string // in thousandths of a degree
	cooling      []string // folders of what slows the processors down
	firmware     string   // of a Raspberry Pi: what it has found
	voltage      string   // of a Raspberry Pi: whether it is too low
	throttles    []string // counters of x86
	gpus         []gpuSource
}

type gpuSource struct {
	device, file string
	full         int64 // what the file says of a GPU without rest
	memory       string
}

func (h Host) findSources() sources {
	var s sources
	for _, zone := range h.matches("sys/class/thermal", "thermal_zone[0-9]*") {
		if kind := h.text(zone + "/type"); kind != "PMIC-Die" { // always 100 degrees on Jetsons
			s.temperatures = append(s.temperatures, zone+"/temp")
		}
	}
	for _, cooler := range h.matches("sys/class/thermal", "cooling_device[0-9]*") {
		if kind := h.text(cooler + "/type"); strings.Contains(kind, "cpufreq") || kind == "Processor" {
			s.cooling = append(s.cooling, cooler+"/cur_state")
		}
	}
	for _, chip := range h.matches("sys/class/hwmon", "hwmon[0-9]*") {
		switch h.text(chip + "/name") {
		case "coretemp", "k10temp", "zenpower", "amdgpu", "cpu_thermal":
			s.temperatures = append(s.temperatures, h.matches(chip, "temp[0-9]*_input")...)
		case "rpi_volt":
			s.voltage = chip + "/in0_lcrit_alarm"
		}
	}
	s.temperatures = s.temperatures[:min(len(s.temperatures), 64)]
	for _, soc := range h.matches("sys/devices/platform", "soc*") {
		for _, firmware := range h.matches(soc, "soc*:firmware") {
			if h.exists(firmware + "/get_throttled") {
				s.firmware = firmware + "/get_throttled"
			}
		}
	}
	for _, core := range h.matches("sys/devices/system/cpu", "cpu[0-9]*") {
		if file := core + "/thermal_throttle/package_throttle_count"; h.exists(file) {
			s.throttles = append(s.throttles, file)
			break // the package's is the same on all cores
		}
	}
	s.gpus = h.gpuSources()
	return s
}

func (h Host) gpuSources() []gpuSource {
	var out []gpuSource
	for _, card := range h.matches("sys/class/drm", "card[0-9]") {
		if file := card + "/device/gpu_busy_percent"; h.exists(file) {
			out = append(out, gpuSource{
				device: "gpu-" + h.place(card+"/device").address, file: file, full: 100, memory: card + "/device/mem_info_vram_used",
			})
		}
	}
	files := []string{"sys/devices/gpu.0/load", "sys/devices/platform/gpu.0/load"}
	for _, dev := range h.names("sys/class/devfreq") {
		files = append(files, "sys/class/devfreq/"+dev+"/device/load")
	}
	for _, file := range files {
		if h.exists(file) && isJetsonGPU(path.Base(path.Dir(h.real(file)))) {
			return append(out, gpuSource{device: "gpu-platform-igpu", file: file, full: 1000})
		}
	}
	return out
}

// isJetsonGPU tells the names under which a Tegra's GPU is a device.
func isJetsonGPU(name string) bool {
	for _, suffix := range []string{"gpu", "gpu.0", "gm20b", "gp10b", "gv11b", "ga10b"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// temperature returns the highest that is believable, zero if there is none.
func (s sources) temperature(h Host) int64 {
	var highest int64
	for _, file := range s.temperatures {
		if t := h.number(file); t > highest && t < 150_000 {
			highest = t
		}
	}
	return highest
}

func (s sources) gpuUsage(h Host) []GPUUsage {
	var out []GPUUsage
	for _, g := range s.gpus {
		load, err := strconv.ParseInt(h.text(g.file), 10, 32)
		if err != nil || load < 0 || load > g.full {
			continue // asleep
		}
		u := GPUUsage{Device: g.device, Percent: int(load * 100 / g.full)}
		if g.memory != "" {
			u.MemoryBytes = max(h.number(g.memory), 0)
		}
		out = append(out, u)
	}
	return out
}

// Bits of get_throttled, see the documentation of Raspberry Pi's firmware. The
// upper half says what has been since the boot.
const (
	piUnderVoltage = 1 << 0
	piCapped       = 1 << 1
	piThrottled    = 1 << 2
	piSoftLimit    = 1 << 3
)

// throttled says why the processors are slowed down now.
func (s *Sampler) throttled() []string {
	var why []string
	add := func(reason string, applies bool) {
		if applies && !slices.Contains(why, reason) {
			why = append(why, reason)
		}
	}
	if s.sources.firmware != "" {
		text := strings.TrimPrefix(s.host.text(s.sources.firmware), "0x") // without the prefix in some kernels
		if bits, err := strconv.ParseUint(text, 16, 32); err == nil {
			add("under-voltage", bits&piUnderVoltage != 0)
			add("frequency-cap", bits&piCapped != 0)
			add("heat", bits&(piThrottled|piSoftLimit) != 0)
		}
	}
	add("under-voltage", s.sources.voltage != "" && s.host.text(s.sources.voltage) == "1")
	for _, file := range s.sources.cooling {
		add("heat", s.host.number(file) > 0)
	}
	for _, file := range s.sources.throttles {
		count := s.host.number(file)
		add("heat", s.samples > 1 && count > s.heat)
		s.heat = count
	}
	return why
}
