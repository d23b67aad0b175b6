package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

// registryPatience is how long a registry may take to begin its answer when
// the image is here already and only a newer one is asked for.
const registryPatience = 10 * time.Second

// wanted is what a Spec asks of its image.
type wanted struct {
	reference string          // as the daemon takes it
	named     reference.Named // nil for an image id: nowhere to fetch it from
	moving    bool            // the tag is "latest", or none: it may mean another image tomorrow
	sha256    string          // bare hex; empty: any
	arch      string          // explicitly asked for; empty: what the node runs
}

func wantedImage(img drivers.Image) (wanted, error) {
	w := wanted{
		reference: img.Reference,
		sha256:    strings.ToLower(strings.TrimPrefix(img.SHA256, "sha256:")),
		arch:      normalArch(img.Arch),
	}
	if img.Reference == "" {
		return w, errors.New("no image is named")
	}
	if strings.HasPrefix(img.Reference, "sha256:") || containerIDForm.MatchString(img.Reference) {
		return w, nil
	}
	named, err := reference.ParseNormalizedNamed(img.Reference)
	if err != nil {
		return w, fmt.Errorf("image %q: %w", img.Reference, err)
	}
	w.named = named
	if _, fixed := named.(reference.Digested); !fixed {
		tagged, ok := reference.TagNameOnly(named).(reference.Tagged)
		w.moving = ok && tagged.Tag() == "latest"
	}
	return w, nil
}

// ensureImage makes sure that the daemon holds the image, and returns the name
// by which to create a container of it.
//
// An image under a fixed tag or a digest is fetched only if it is not here, or
// not the right one. One under a moving tag is asked for each time, and what is
// here is used if that does not work. One that never came from a registry is
// used as it is: no registry is contacted.
func (d *Driver) ensureImage(ctx context.Context, op, id string, w wanted, progress func(drivers.Progress)) (string, error) {
	local, found, err := d.findImage(ctx, op, id, w)
	if err != nil {
		return "", err
	}
	var unfit error
	if found {
		unfit = d.checkImage(ctx, w, local)
		if unfit == nil && (!w.moving || len(local.RepoDigests) == 0) {
			return nameToRun(w, local), nil
		}
	}
	if w.named == nil {
		if found {
			return "", drivers.Errorf(drivers.ErrImage, op, id, "%w", unfit)
		}
		return "", drivers.Errorf(drivers.ErrImage, op, id, "image %s is not on this node, and an id cannot be fetched: name it by repository and tag", w.reference)
	}

	patience := time.Duration(0)
	if found && unfit == nil {
		patience = registryPatience
	}
	if err := d.pull(ctx, op, id, w, patience, progress); err != nil {
		switch {
		case ctx.Err() != nil || !found:
			return "", err
		case unfit != nil:
			return "", drivers.Errorf(drivers.ErrImage, op, id, "%w; fetching another: %w", unfit, err)
		}
		d.log.Warn("using the image that is here, for no newer one could be fetched", "image", w.reference, "instance", id, "err", err)
		return nameToRun(w, local), nil
	}

	local, found, err = d.findImage(ctx, op, id, w)
	if err != nil {
		return "", err
	}
	if !found {
		return "", drivers.Errorf(drivers.ErrImage, op, id, "image %s was removed while it was fetched", w.reference)
	}
	if err := d.checkImage(ctx, w, local); err != nil {
		return "", drivers.Errorf(drivers.ErrImage, op, id, "%w", err)
	}
	return nameToRun(w, local), nil
}

// nameToRun is the reference, which people recognize, unless a checksum was
// checked: then it is the id of what was checked.
func nameToRun(w wanted, img image.InspectResponse) string {
	if w.sha256 != "" {
		return img.ID
	}
	return w.reference
}

func (d *Driver) findImage(ctx context.Context, op, id string, w wanted) (image.InspectResponse, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.QueryTimeout)
	defer cancel()
	res, err := d.api.Load().ImageInspect(ctx, w.reference)
	if errdefs.IsNotFound(err) {
		return image.InspectResponse{}, false, nil
	}
	if err != nil {
		return image.InspectResponse{}, false, d.fail(ctx, op, id, err)
	}
	return res.InspectResponse, true, nil
}

// checkImage tells what is wrong with an image for this job, nil if nothing.
func (d *Driver) checkImage(ctx context.Context, w wanted, img image.InspectResponse) error {
	if err := checkDigest(w, img); err != nil {
		return err
	}
	have := normalArch(img.Architecture)
	if have == "" {
		return nil // built by a tool that does not say
	}
	if w.arch != "" {
		if have != w.arch {
			return fmt.Errorf("image %s is for %s, the job asks for %s", w.reference, have, w.arch)
		}
		return nil
	}
	node, err := d.daemonArch(ctx)
	if err != nil {
		return err
	}
	if !runsOn(have, node) {
		return fmt.Errorf("image %s is for %s, this node is %s", w.reference, have, node)
	}
	return nil
}

// checkDigest accepts the digest of the manifest (or of the list of manifests)
// by which the image was fetched, and the digest of its configuration, which
// is the image's id.
func checkDigest(w wanted, img image.InspectResponse) error {
	if w.sha256 == "" {
		return nil
	}
	want := "sha256:" + w.sha256
	have := []string{img.ID}
	if img.Descriptor != nil {
		have = append(have, img.Descriptor.Digest.String())
	}
	for _, d := range img.RepoDigests {
		_, digest, _ := strings.Cut(d, "@")
		have = append(have, digest)
	}
	if slices.Contains(have, want) {
		return nil
	}
	slices.Sort(have)
	return fmt.Errorf("image %s has not the checksum that the job asks for: want %s, have %s",
		w.reference, want, strings.Join(slices.Compact(have), " or "))
}

// normalArch maps the kernel's names of architectures to those of images.
func normalArch(arch string) string {
	switch arch {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "armhf", "armv6l", "armv7l":
		return "arm"
	case "i386", "i686":
		return "386"
	}
	return arch
}

// runsOn tells whether a node runs programs of an architecture without being asked to emulate it.
func runsOn(arch, node string) bool {
	return arch == node || arch == "386" && node == "amd64" || arch == "arm" && node == "arm64"
}

// daemonArch is the architecture of the daemon's machine. That does not change, so it is asked for once.
func (d *Driver) daemonArch(ctx context.Context) (string, error) {
	d.mu.Lock()
	arch := d.arch
	d.mu.Unlock()
	if arch != "" {
		return arch, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.QueryTimeout)
	defer cancel()
	v, err := d.api.Load().ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", d.fail(ctx, "ask for the architecture", "", err)
	}
	arch = normalArch(v.Arch)
	d.mu.Lock()
	d.arch = arch
	d.mu.Unlock()
	return arch, nil
}
