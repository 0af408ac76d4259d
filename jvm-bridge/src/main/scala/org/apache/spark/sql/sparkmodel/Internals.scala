// SPDX-License-Identifier: Apache-2.0
package org.apache.spark.sql.sparkmodel

import java.util.{ArrayList => JArrayList, HashMap => JHashMap}

import org.apache.arrow.memory.{AllocationListener, BufferAllocator}
import org.apache.arrow.vector.types.pojo.{Field, Schema}
import org.apache.spark.TaskContext
import org.apache.spark.api.python.{PythonEvalType, PythonFunction, SimplePythonFunction}
import org.apache.spark.memory.TaskMemoryManager
import org.apache.spark.sql.catalyst.expressions.{Expression, PythonUDF}
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

  /** The Spark type that an Arrow field is read as. */
  def sparkType(field: Field): DataType = ArrowUtils.fromArrowField(field)

  /** A Python function as a session with Python would have it, of a command that only the bridge reads. */
  def pythonFunction(command: Array[Byte]): AnyRef =
    pythonFunction(command, "python3", "")

  /** A Python function of a command that a Python of that version has pickled. */
  def pythonFunction(command: Array[Byte], python: String, version: String): AnyRef =
    SimplePythonFunction(command.toSeq, new JHashMap, new JArrayList, python, version, new JArrayList, null)

  def call(name: String, function: AnyRef, result: DataType, arguments: Seq[Expression]): Expression =
    PythonUDF(
      name, function.asInstanceOf[PythonFunction], result, arguments, PythonEvalType.SQL_SCALAR_ARROW_ITER_UDF, true)
}
