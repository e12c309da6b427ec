package main

import (
	metricrpc "github.com/argoproj/argo-rollouts/metricproviders/plugin/rpc"
	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"github.com/argoproj/argo-rollouts/utils/plugin/types"
	goplugin "github.com/hashicorp/go-plugin"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sample is a metric plugin that does nothing: what a Go server says and how fast it says it, to compare with.
type sample struct{}

func (sample) InitPlugin() types.RpcError { return types.RpcError{} }
func (sample) Run(*v1alpha1.AnalysisRun, v1alpha1.Metric) v1alpha1.Measurement {
	now := metav1.Now()
	return v1alpha1.Measurement{Phase: v1alpha1.AnalysisPhaseRunning, StartedAt: &now}
}
func (sample) Resume(_ *v1alpha1.AnalysisRun, _ v1alpha1.Metric, m v1alpha1.Measurement) v1alpha1.Measurement {
	return m
}
func (sample) Terminate(_ *v1alpha1.AnalysisRun, _ v1alpha1.Metric, m v1alpha1.Measurement) v1alpha1.Measurement {
	return m
}
func (sample) GarbageCollect(*v1alpha1.AnalysisRun, v1alpha1.Metric, int) types.RpcError {
	return types.RpcError{}
}
func (sample) Type() string                                  { return "Sample" }
func (sample) GetMetadata(v1alpha1.Metric) map[string]string { return map[string]string{} }

var handshake = goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "ARGO_ROLLOUTS_RPC_PLUGIN", MagicCookieValue: "metricprovider"}

func serveSample() {
	plugins := map[string]goplugin.Plugin{"RpcMetricProviderPlugin": &metricrpc.RpcMetricProviderPlugin{Impl: sample{}}}
	goplugin.Serve(&goplugin.ServeConfig{HandshakeConfig: handshake, Plugins: plugins})
}
