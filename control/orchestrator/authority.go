package orchestrator

import (
	"context"
	"errors"

	"github.com/edgeio/edgeio/control/pki"
	pb "github.com/edgeio/edgeio/proto/edgeio/v1"
	"github.com/edgeio/edgeio/proto/identity"
	"github.com/edgeio/edgeio/proto/link"
)

// Authority lets children in. The root signs with the authority of the tree and
// keeps the join tokens; a cluster signs with its intermediate and asks its
// parent about tokens.
type Authority struct {
	Issuer pki.Issuer
	// Redeem uses a join token up for a process of that kind and id that wants
	// to join at cluster; an empty cluster is the root.
	Redeem func(ctx context.Context, token string, kind identity.Kind, subject, cluster string) error
	// Cluster is the id of the own cluster; empty at the root.
	Cluster string
}

var _ pb.DRPCEnrolmentServer = (*Authority)(nil)

// Enrol trades a join token for a certificate.
func (a *Authority) Enrol(ctx context.Context, req *pb.EnrolRequest) (*pb.EnrolResponse, error) {
	kind, err := identity.ParseKind(req.GetKind())
	if err != nil {
		return nil, link.Error(link.Invalid, "enrol: %w", err)
	}
	subject, err := subjectOf(req.GetCsr(), kind)
	if err != nil {
		return nil, err
	}
	if a.Cluster != "" && kind != identity.Node {
		return nil, link.Error(link.Denied, "enrol: this is a cluster, which takes worker nodes; a %s joins at the root", kind)
	}
	if err := a.Redeem(ctx, req.GetToken(), kind, subject, a.Cluster); err != nil {
		return nil, err
	}
	resp := &pb.EnrolResponse{Id: subject}
	resp.Chain, resp.CaChain, err = a.issue(req.GetCsr(), req.GetCaCsr(), kind, subject, req.GetName())
	return resp, err
}

// Renew issues a new certificate to a child that has one, for the same key.
func (a *Authority) Renew(peer identity.Peer, req *pb.RenewRequest) (*pb.RenewResponse, error) {
	subject, err := subjectOf(req.GetCsr(), peer.Kind)
	if err != nil {
		return nil, err
	}
	if subject != peer.ID {
		return nil, link.Error(link.Denied, "renew the certificate of %s: the request is for another key", peer)
	}
	resp := &pb.RenewResponse{}
	resp.Chain, resp.CaChain, err = a.issue(req.GetCsr(), req.GetCaCsr(), peer.Kind, subject, peer.Name)
	return resp, err
}

// RedeemFor uses a join token up on behalf of a cluster at which a node enrols.
func (a *Authority) RedeemFor(ctx context.Context, peer identity.Peer, req *pb.RedeemTokenRequest) error {
	if peer.Kind != identity.Cluster {
		return link.Error(link.Denied, "redeem a token: %s is not a cluster", peer)
	}
	return a.Redeem(ctx, req.GetToken(), identity.Kind(req.GetKind()), req.GetSubject(), peer.ID)
}

func subjectOf(csr []byte, kind identity.Kind) (string, error) {
	parsed, err := identity.ParseCSR(csr)
	if err != nil {
		return "", link.Error(link.Invalid, "enrol: %w", err)
	}
	id, err := identity.IDFromKey(kind, parsed.PublicKey)
	if err != nil {
		return "", link.Error(link.Invalid, "enrol: %w", err)
	}
	return id, nil
}

func (a *Authority) issue(csr, caCSR []byte, kind identity.Kind, id, name string) (chain, caChain [][]byte, err error) {
	if kind == identity.Root {
		return nil, nil, link.Error(link.Denied, "enrol %s: a root has an authority of its own", id)
	}
	if chain, err = a.Issuer.IssueLeaf(csr, kind, name); err != nil {
		return nil, nil, link.Error(link.Invalid, "%w", err)
	}
	if kind != identity.Cluster {
		return chain, nil, nil
	}
	if len(caCSR) == 0 {
		return nil, nil, link.Error(link.Invalid, "enrol %s: %w", id, errors.New("a cluster must ask for an intermediate, too"))
	}
	if caChain, err = a.Issuer.IssueClusterCA(caCSR, id); err != nil {
		return nil, nil, link.Error(link.Invalid, "%w", err)
	}
	return chain, caChain, nil
}
