package capabilities

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// video finds cameras on USB and CSI, and the codecs that V4L2 calls video
// devices, too.
type video struct{}

func (video) Name() string { return "video" }

func (video) Probe(_ context.Context, h Host) (func(*Report), error) {
	const dir = "sys/class/video4linux"
	all := map[string]*Device{}
	sensor := ""
	names := h.names(dir)
	slices.SortFunc(names, naturally)
	var csi []string // nodes that a camera on CSI is set up by
	for _, name := range names {
		if strings.HasPrefix(name, "v4l-subdev") {
			sensor = cmp.Or(sensor, sensorName(h.text(dir+"/"+name+"/name")))
			csi = append(csi, h.present("dev/"+name))
			continue
		}
		if !strings.HasPrefix(name, "video") {
			continue
		}
		title := h.text(dir + "/" + name + "/name")
		d := h.device(videoKind(title), dir+"/"+name)
		if known := all[d.ID]; known != nil {
			d = *known
		} else {
			d.Model = cmp.Or(d.Model, title)
			all[d.ID] = &d
		}
		if node := h.present("dev/" + name); node != "" {
			all[d.ID].Paths = append(all[d.ID].Paths, node)
		}
		if s := sensorName(title[strings.LastIndex(title, ",")+1:]); s != "" { // Jetson: "vi-output, imx219 9-0010"
			all[d.ID].Model = s
		}
	}
	for _, name := range h.names("dev") {
		if strings.HasPrefix(name, "media") {
			csi = append(csi, h.present("dev/"+name))
		}
	}
	return func(r *Report) {
		for _, d := range all {
			if d.Kind == Camera && strings.HasPrefix(d.address, "platform-") {
				d.Model = cmp.Or(sensor, d.Model)
				d.Paths = append(d.Paths, slices.DeleteFunc(csi, func(p string) bool { return p == "" })...)
			}
			r.Devices = append(r.Devices, *d)
		}
	}, nil
}

// videoKind tells a camera from what converts pictures in memory, by the name
// that its driver gives it.
func videoKind(title string) Kind {
	lower := strings.ToLower(title)
	for _, part := range []string{"codec", "decode", "encode", "-dec", "-enc", "isp", "hevc", "rpivid", "rga", "jpeg", "vpu", "pispbe", "mdp", "venus"} {
		if strings.Contains(lower, part) {
			return Codec
		}
	}
	return Camera
}

// sensorName takes the chip out of names like "imx219 10-0010", where its
// place on I2C follows; empty if the name is of another form.
func sensorName(title string) string {
	chip, place, found := strings.Cut(strings.TrimSpace(title), " ")
	if !found || !isI2CAddress(place) || strings.ContainsAny(chip, "_:") {
		return ""
	}
	return chip
}
