// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.exec

import org.apache.arrow.memory.{AllocationListener, BufferAllocator}
import org.apache.spark.TaskContext
import org.apache.spark.memory.{MemoryConsumer, SparkOutOfMemoryError}
import org.apache.spark.sql.sparkmodel.{CatalystInternals, CoreInternals}

/**
 * The Arrow memory of one task, accounted to the task's memory manager.
 *
 * The batches of a task under way are few and bounded, so nothing is spilled; but what they take, Spark's other
 * operators see as taken, and spill in time.
 */
class TaskMemory(context: TaskContext)
    extends MemoryConsumer(CoreInternals.memoryOf(context), CoreInternals.memoryOf(context).getTungstenMemoryMode)
    with AllocationListener {

  val allocator: BufferAllocator = CatalystInternals.newAllocator(s"sparkmodel task ${context.taskAttemptId()}", this)

  override def onPreAllocation(size: Long): Unit = {
    val granted = acquireMemory(size)
    if (granted < size) {
      freeMemory(granted)
      throw new SparkOutOfMemoryError(
        "UNABLE_TO_ACQUIRE_MEMORY",
        java.util.Map.of("requestedBytes", size.toString, "receivedBytes", granted.toString))
    }
  }

  override def onRelease(size: Long): Unit = freeMemory(size)

  override def spill(size: Long, trigger: MemoryConsumer): Long = 0L

  /** Give the allocator back; what is still in use would be a leak of ours, and is said. */
  def close(): Unit = allocator.close()
}
