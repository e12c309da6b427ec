package main

import (
	"fmt"

	"github.com/argoproj/argo-rollouts/metricproviders/plugin/client"
	"github.com/argoproj/argo-rollouts/utils/config"
	"github.com/argoproj/argo-rollouts/utils/defaults"
	"github.com/argoproj/argo-rollouts/utils/plugin"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// load does what the controller does when it starts: reads its ConfigMap, and copies the plugins to its folder.
func load(plugins string) error {
	configMap := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: defaults.DefaultRolloutsConfigMapName, Namespace: defaults.Namespace()},
		Data:       map[string]string{"metricProviderPlugins": plugins},
	}
	cluster := fake.NewSimpleClientset(configMap)
	if _, err := config.InitializeConfig(cluster, defaults.DefaultRolloutsConfigMapName); err != nil {
		return fmt.Errorf("failed to init config: %w", err)
	}
	if err := plugin.DownloadPlugins(plugin.FileDownloaderImpl{}, cluster); err != nil {
		return fmt.Errorf("failed to download plugins: %w", err)
	}
	return nil
}

// call is one step of the controller's analysis: get the plugin (which starts and pings it), and ask it.
func call(r request) (any, error) {
	p, err := client.GetMetricPlugin(r.Metric)
	if err != nil {
		return nil, err
	}
	switch r.Method {
	case "Get":
		return nil, nil
	case "InitPlugin":
		return p.InitPlugin(), nil
	case "Run":
		return p.Run(r.Run, r.Metric), nil
	case "Resume":
		return p.Resume(r.Run, r.Metric, r.Measurement), nil
	case "Terminate":
		return p.Terminate(r.Run, r.Metric, r.Measurement), nil
	case "GarbageCollect":
		return p.GarbageCollect(r.Run, r.Metric, r.Limit), nil
	case "Type":
		return p.Type(), nil
	case "GetMetadata":
		return p.GetMetadata(r.Metric), nil
	}
	return nil, fmt.Errorf("host: no method %q", r.Method)
}
