package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"

	"github.com/edgeio/edgeio/drivers"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// maxManifest bounds manifests and indexes, as registries do.
const maxManifest = 4 << 20

// ociSource is an artifact in a registry.
type ociSource struct {
	c   *Cache
	ref registry.Reference
}

func (c *Cache) newOCI(reference string) (source, error) {
	ref, err := registry.ParseReference(reference)
	if err != nil {
		return nil, classed(drivers.ErrInvalid, "it is neither a path, nor a URL, nor registry/repository:tag: %w", err)
	}
	if ref.Reference == "" {
		ref.Reference = "latest"
	}
	return ociSource{c, ref}, nil
}

func (s ociSource) fetch(ctx context.Context, image drivers.Image, report func(drivers.Progress)) (result, error) {
	if image.Arch == "" {
		image.Arch = runtime.GOARCH
	}
	digest, err := s.resolveAndPull(ctx, image, report)
	known, isKnown := s.c.lookUp(image.Reference, image.Arch)
	if isKnown && errors.Is(err, drivers.ErrUnavailable) && (image.SHA256 == "" || image.SHA256 == known.SHA256) {
		s.c.log.Warn("registry is out of reach, the cached content is used", "image", image.Reference, "err", err)
		digest, err = known.SHA256, nil
	}
	return result{digest: digest}, err
}

func (s ociSource) resolveAndPull(ctx context.Context, image drivers.Image, report func(drivers.Progress)) (string, error) {
	repo := s.repository()
	layer, err := s.resolve(ctx, repo, image.Arch)
	if err != nil {
		return "", s.fault(ctx, err)
	}
	digest := layer.Digest.Encoded()
	if image.SHA256 != "" && digest != image.SHA256 {
		return "", wrongChecksum(image.SHA256, digest)
	}
	if !s.c.has(digest) {
		if err := s.pull(ctx, repo, layer, report); err != nil {
			return "", s.fault(ctx, err)
		}
	}
	return digest, s.c.remember(ref{Reference: image.Reference, SHA256: digest}, image.Arch)
}

func (s ociSource) repository() *remote.Repository {
	client := &auth.Client{Client: s.c.client, Cache: auth.NewCache()}
	client.Credential = func(_ context.Context, host string) (auth.Credential, error) {
		cred, ok := s.c.cfg.Credentials[host]
		if !ok && host == s.ref.Host() {
			cred = s.c.cfg.Credentials[s.ref.Registry] // docker.io is asked under another name
		}
		return auth.Credential{Username: cred.Username, Password: cred.Password}, nil
	}
	host, _, err := net.SplitHostPort(s.ref.Registry)
	if err != nil {
		host = s.ref.Registry
	}
	local := isLoopback(strings.Trim(host, "[]"))
	if local {
		client.BlockedRealmPrefixes = []netip.Prefix{} // its token service is local too
	}
	return &remote.Repository{Client: client, Reference: s.ref, PlainHTTP: local, MaxMetadataBytes: maxManifest}
}

// resolve finds the descriptor of the file.
func (s ociSource) resolve(ctx context.Context, repo *remote.Repository, arch string) (ocispec.Descriptor, error) {
	desc, err := repo.Resolve(ctx, s.ref.Reference)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if desc.MediaType == ocispec.MediaTypeImageIndex || desc.MediaType == "application/vnd.docker.distribution.manifest.list.v2+json" {
		var index ocispec.Index
		if err := fetchJSON(ctx, repo, desc, &index); err != nil {
			return ocispec.Descriptor{}, err
		}
		if desc, err = forArch(index.Manifests, arch); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	var manifest ocispec.Manifest
	if err := fetchJSON(ctx, repo, desc, &manifest); err != nil {
		return ocispec.Descriptor{}, err
	}
	layer, err := fileLayer(manifest.Layers)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if layer.Digest.Validate() != nil || !isDigest(layer.Digest.Encoded()) {
		return ocispec.Descriptor{}, classed(drivers.ErrImage, "its content has the digest %q, only sha256 is supported", layer.Digest)
	}
	return layer, nil
}

func fetchJSON(ctx context.Context, repo *remote.Repository, desc ocispec.Descriptor, into any) error {
	if desc.Size > maxManifest {
		return classed(drivers.ErrImage, "its manifest has %d bytes, at most %d are allowed", desc.Size, maxManifest)
	}
	text, err := content.FetchAll(ctx, repo.Manifests(), desc) // checks the digest
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return classed(drivers.ErrImage, "its manifest makes no sense: %w", err)
	}
	return nil
}

func forArch(manifests []ocispec.Descriptor, arch string) (ocispec.Descriptor, error) {
	var offered []string
	for _, m := range manifests {
		if m.Platform == nil {
			continue
		}
		isLinux := m.Platform.OS == "linux" || m.Platform.OS == ""
		if isLinux && m.Platform.Architecture == arch {
			return m, nil
		}
		offered = append(offered, m.Platform.OS+"/"+m.Platform.Architecture)
	}
	return ocispec.Descriptor{}, classed(drivers.ErrImage, "there is none for linux/%s, only for %s", arch, strings.Join(offered, ", "))
}

// fileLayer picks the only layer, or the first that is a named file (the title
// annotation that oras puts on files).
func fileLayer(layers []ocispec.Descriptor) (ocispec.Descriptor, error) {
	if len(layers) == 1 {
		return layers[0], nil
	}
	for _, l := range layers {
		if l.Annotations[ocispec.AnnotationTitle] != "" {
			return l, nil
		}
	}
	return ocispec.Descriptor{}, classed(drivers.ErrImage, "it has %d layers and none is a file; is it a container image for another runtime?", len(layers))
}

// pull downloads the layer, going on where an earlier pull was interrupted if
// the registry can do that.
func (s ociSource) pull(ctx context.Context, repo *remote.Repository, layer ocispec.Descriptor, report func(drivers.Progress)) (err error) {
	digest := layer.Digest.Encoded()
	p, err := s.c.openPartial(ctx, "oci-"+digest)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.finish(err)) }()
	if s.c.has(digest) {
		return nil // another process has got it while we waited
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := repo.Blobs().Fetch(ctx, layer)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // read to its end, or given up
	if err := seekTo(body, p, layer); err != nil {
		return err
	}
	got, err := s.c.receive(ctx, p, watch(io.LimitReader(body, layer.Size-p.size+1), cancel), layer.Size, report)
	if err != nil {
		return causeOf(ctx, err)
	}
	if got != digest {
		return classed(drivers.ErrImage, "the registry sent content with the SHA-256 %s instead of %s", got, digest)
	}
	return s.c.publish(ctx, digest, p.file.Name(), true, report)
}

// seekTo moves body to where the download ends, or starts the download anew.
func seekTo(body io.Reader, p *partial, layer ocispec.Descriptor) error {
	if seeker, ok := body.(io.Seeker); ok && p.validator == layer.Digest.String() && p.size <= layer.Size {
		if _, err := seeker.Seek(p.size, io.SeekStart); err == nil {
			return nil
		}
	}
	return p.restart(layer.Digest.String())
}

// fault gives what the registry or the network said a class.
func (s ociSource) fault(ctx context.Context, err error) error {
	var known *classError
	var answer *errcode.ErrorResponse
	switch {
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errdef.ErrNotFound):
		return classed(drivers.ErrImage, "the registry %s has no such artifact", s.ref.Registry)
	case errors.As(err, &answer) && answer.StatusCode < 500 && answer.StatusCode != http.StatusTooManyRequests:
		return fmt.Errorf("%w (%w)", statusError(s.ref.Registry, answer.StatusCode), answer)
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return classed(drivers.ErrDenied, "the registry %s wants credentials; put them in the agent's configuration", s.ref.Registry)
	case errors.Is(err, content.ErrMismatchedDigest), errors.Is(err, content.ErrInvalidDescriptorSize):
		return classed(drivers.ErrImage, "%w", err)
	case isLocal(err):
		return err
	}
	return classed(drivers.ErrUnavailable, "%w", err)
}
