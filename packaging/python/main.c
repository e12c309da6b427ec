// The plugin's own interpreter: `main TREE ARGUMENTS...` runs chaosplugin.cli.main with CPython from the tree.
//
// Isolated: neither PYTHON* in the environment nor files of the machine change what is imported.
#define _GNU_SOURCE
#include <Python.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

// Say that the tree has reached the disk, once it has. In a thread, as a slow disk must not delay the handshake.
static void *make_durable(void *path)
{
	int tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree >= 0 && faccessat(tree, ".durable", F_OK, 0) != 0 && syncfs(tree) == 0) {
		int mark = openat(tree, ".durable", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (mark >= 0)
			close(mark);
	}
	if (tree >= 0)
		close(tree);
	return NULL;
}

static void check(PyStatus status)
{
	if (PyStatus_Exception(status))
		Py_ExitStatusException(status);
}

static void add_path(PyConfig *config, const char *tree, const char *folder)
{
	char path[5000];
	snprintf(path, sizeof path, "%s/%s", tree, folder);
	wchar_t *wide = Py_DecodeLocale(path, NULL);
	check(PyWideStringList_Append(&config->module_search_paths, wide));
	PyMem_RawFree(wide);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 126;
	char *tree = argv[1];
	pthread_t thread;
	if (pthread_create(&thread, NULL, make_durable, tree) == 0)
		pthread_detach(thread);
	prctl(PR_SET_NAME, "chaosplugin"); // else it is called as the loader
	argv[1] = argv[0];

	PyPreConfig preconfig;
	PyPreConfig_InitIsolatedConfig(&preconfig);
	preconfig.utf8_mode = 1;
	check(Py_PreInitialize(&preconfig));

	PyConfig config;
	PyConfig_InitIsolatedConfig(&config);
	config.install_signal_handlers = 1;
	config.parse_argv = 0;
	config.site_import = 0;
	config.write_bytecode = 0;
	config.module_search_paths_set = 1;
	add_path(&config, tree, "stdlib.zip");
	add_path(&config, tree, "lib-dynload");
	add_path(&config, tree, "site.zip");
	add_path(&config, tree, "site");
	check(PyConfig_SetBytesString(&config, &config.program_name, argv[0]));
	check(PyConfig_SetBytesString(&config, &config.executable, argv[0]));
	check(PyConfig_SetBytesString(&config, &config.home, tree));
	check(PyConfig_SetBytesString(&config, &config.run_command,
	                              "import sys\nfrom chaosplugin.cli import main\nsys.exit(main())\n"));
	check(PyConfig_SetBytesArgv(&config, argc - 1, argv + 1));
	check(Py_InitializeFromConfig(&config));
	PyConfig_Clear(&config);
	return Py_RunMain();
}
