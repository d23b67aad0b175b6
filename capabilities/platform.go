package capabilities

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
)

// platformDevices finds the graphics and accelerators that are part of a chip:
// of Jetsons, Raspberry Pis, and boards with Mali, Adreno or Vivante graphics.
type platformDevices struct{}

func (platformDevices) Name() string { return "platform" }

func (platformDevices) Probe(_ context.Context, h Host) (func(*Report), error) {
	var all []Device
	names := h.compatible()
	tegra := slices.IndexFunc(names, func(n string) bool {
		number, found := strings.CutPrefix(n, "nvidia,tegra")
		return found && isVersion(number)
	})
	switch {
	case tegra >= 0:
		all = h.jetsonDevices(names[tegra])
	case videoCore(names) != "":
		all = []Device{h.videoCore(videoCore(names))}
	default:
		all = h.chipGraphics()
	}
	all = append(all, h.rockchipNPU()...)
	return func(r *Report) { r.Devices = append(r.Devices, all...) }, nil
}

// videoCore names the graphics of a Raspberry Pi by its chip.
func videoCore(compatible []string) string {
	for _, name := range compatible {
		switch name {
		case "brcm,bcm2835", "brcm,bcm2836", "brcm,bcm2837":
			return "VideoCore IV"
		case "brcm,bcm2711":
			return "VideoCore VI"
		case "brcm,bcm2712":
			return "VideoCore VII"
		}
	}
	return ""
}

// videoCore puts the parts of the graphics together, display and 3D, which
// have drivers and nodes of their own.
func (h Host) videoCore(model string) Device {
	d := Device{ID: "gpu-platform-videocore", Kind: GPU, Vendor: "Broadcom", Model: model, SharedMemory: true, address: "platform-videocore"}
	for _, group := range h.drmGroups() {
		driver := h.target(group.folder + "/driver")
		if strings.HasPrefix(driver, "v3d") || strings.HasPrefix(driver, "vc4") || driver == "" {
			d.Driver = cmp.Or(d.Driver, driver)
			d.Paths = append(d.Paths, group.paths...)
		}
	}
	for _, node := range []string{"dev/vchiq", "dev/vcio"} {
		if p := h.present(node); p != "" {
			d.Paths = append(d.Paths, p)
		}
	}
	return d
}

// drmGroup is the nodes of /dev/dri that one platform device has.
type drmGroup struct {
	folder string
	paths  []string
}

func (h Host) drmGroups() []drmGroup {
	var out []drmGroup
	for _, folder := range append(h.matches("sys/class/drm", "card[0-9]"), h.matches("sys/class/drm", "renderD*")...) {
		at := h.place(folder)
		if at.bus != "platform" {
			continue
		}
		node := h.present("dev/dri/" + path.Base(folder))
		if node == "" {
			continue
		}
		i := slices.IndexFunc(out, func(g drmGroup) bool { return g.folder == at.folder })
		if i < 0 {
			out, i = append(out, drmGroup{folder: at.folder}), len(out)
		}
		out[i].paths = append(out[i].paths, node)
	}
	return out
}

// chipGraphics finds the graphics of other chips by the names of their drivers.
func (h Host) chipGraphics() []Device {
	known := map[string][2]string{
		"panfrost": {"Arm", "Mali"}, "panthor": {"Arm", "Mali"}, "lima": {"Arm", "Mali"}, "mali": {"Arm", "Mali"}, "etnaviv": {"Vivante", "GC"},
		"msm": {"Qualcomm", "Adreno"}, "msm_dpu": {"Qualcomm", "Adreno"}, "powervr": {"Imagination", "PowerVR"},
	}
	var out []Device
	for _, g := range h.drmGroups() {
		driver := h.target(g.folder + "/driver")
		if name, found := known[driver]; found {
			d := h.device(GPU, g.folder)
			d.Vendor, d.Model, d.Driver, d.Paths, d.SharedMemory = name[0], name[1], driver, g.paths, true
			out = append(out, d)
		}
	}
	return out
}

// jetsonGPUs are by chip; NVIDIA's technical reference manuals name them.
var jetsonGPUs = map[string]string{
	"nvidia,tegra124": "Tegra K1 GPU (Kepler, GK20A)", "nvidia,tegra210": "Tegra X1 GPU (Maxwell, GM20B)", "nvidia,tegra186": "Tegra X2 GPU (Pascal, GP10B)",
	"nvidia,tegra194": "Xavier GPU (Volta, GV11B)", "nvidia,tegra234": "Orin GPU (Ampere, GA10B)", "nvidia,tegra264": "Thor GPU (Blackwell)",
}

// jetsonDevices finds the GPU, and the deep learning and vision accelerators
// where the module has them: all share the main memory.
func (h Host) jetsonDevices(chip string) []Device {
	gpu := Device{
		ID: "gpu-platform-igpu", Kind: GPU, Vendor: "NVIDIA", Model: cmp.Or(jetsonGPUs[chip], chip+" GPU"), Driver: "nvgpu", SharedMemory: true,
		address: "platform-igpu",
	}
	for _, dir := range []string{"dev", "dev/nvgpu/igpu0", "dev/dri"} {
		for _, name := range h.names(dir) {
			if dir != "dev" || isJetsonGPUNode(name) {
				if p := h.present(dir + "/" + name); p != "" {
					gpu.Paths = append(gpu.Paths, p)
				}
			}
		}
	}
	out := []Device{gpu}
	for _, name := range h.names("dev") {
		var d Device
		switch n := strings.TrimPrefix(name, "nvhost-ctrl-"); {
		case n == name:
			continue
		case strings.HasPrefix(n, "nvdla"):
			d = Device{ID: "npu-platform-" + clean(n), Kind: NPU, Model: "NVDLA"}
		case strings.HasPrefix(n, "pva"):
			d = Device{ID: "vpu-platform-" + clean(n), Kind: VPU, Model: "PVA"}
		default:
			continue
		}
		d.Vendor, d.SharedMemory, d.address = "NVIDIA", true, d.ID
		for _, node := range []string{"dev/" + name, "dev/" + strings.Replace(name, "ctrl-", "", 1), "dev/nvhost-ctrl", "dev/nvmap"} {
			if p := h.present(node); p != "" {
				d.Paths = append(d.Paths, p)
			}
		}
		out = append(out, d)
	}
	return out
}

// isJetsonGPUNode tells the nodes that CUDA opens on Jetsons before JetPack 6.
func isJetsonGPUNode(name string) bool {
	return strings.HasPrefix(name, "nvhost-") && strings.HasSuffix(name, "gpu") || name == "nvmap" || name == "nvhost-ctrl"
}

// rockchipNPU finds the NPU of Rockchip's chips under the maker's driver; with
// the kernel's own it is of class accel.
func (h Host) rockchipNPU() []Device {
	var out []Device
	for _, folder := range append(h.matches("sys/bus/platform/drivers/RKNPU", "*.npu"), h.matches("sys/bus/platform/drivers/rknpu", "*.npu")...) {
		name := path.Base(folder)
		d := Device{
			ID: "npu-platform-" + clean(name), Kind: NPU, Vendor: "Rockchip", Model: "RKNPU", Driver: h.target(folder + "/driver"), SharedMemory: true,
			address: "platform-" + name,
		}
		d.Paths = h.nodes(h.real(folder))
		if p := h.present("dev/rknpu"); p != "" {
			d.Paths = append(d.Paths, p)
		}
		out = append(out, d)
	}
	return out
}
