// SPDX-License-Identifier: Apache-2.0
package org.apache.spark.sql.sparkmodel

import org.apache.arrow.memory.{AllocationListener, BufferAllocator}
import org.apache.arrow.vector.types.pojo.{Field, Schema}
import org.apache.spark.TaskContext
import org.apache.spark.memory.TaskMemoryManager
import org.apache.spark.sql.types.{DataType, StructType}
import org.apache.spark.sql.util.ArrowUtils

/** What the bridge needs of Spark that is private to its packages. */
object Internals {

  /** The Arrow schema that Spark would send to a Python worker. */
  def arrowSchema(schema: StructType, timeZone: String, largeVarTypes: Boolean): Schema =
    ArrowUtils.toArrowSchema(schema, timeZone, true, largeVarTypes)

  /** Whether Spark reads an Arrow field as a type; whether NULLs are foreseen does not matter. */
  def isOfType(field: Field, dataType: DataType): Boolean =
    DataType.equalsIgnoreNullability(ArrowUtils.fromArrowField(field), dataType)

  def newAllocator(name: String, listener: AllocationListener): BufferAllocator =
    ArrowUtils.rootAllocator.newChildAllocator(name, listener, 0, Long.MaxValue)

  def memoryOf(context: TaskContext): TaskMemoryManager = context.taskMemoryManager()

  /** Ends a task that was killed, which nobody interrupts by default. */
  def endIfKilled(context: TaskContext): Unit = context.killTaskIfInterrupted()
}
