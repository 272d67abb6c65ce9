include CMakeFiles/k.dir/flags.make
CUDA_FLAGS = -O3 "--generate-code=arch=compute_100a,code=[sm_100a]"
CMakeFiles/k.dir/k.cu.o: /src/k.cu
	@$(CMAKE_COMMAND) -E cmake_echo_color "Building"
	/opt/cuda/bin/nvcc -forward-unknown-to-host-compiler $(CUDA_DEFINES) $(CUDA_FLAGS) -x cu -c /src/k.cu -o CMakeFiles/k.dir/k.cu.o
