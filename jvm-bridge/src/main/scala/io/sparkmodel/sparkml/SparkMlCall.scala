// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.sparkml

import org.apache.spark.sql.catalyst.InternalRow
import org.apache.spark.sql.catalyst.expressions.{Attribute, Expression, GenericInternalRow, MutableProjection}
import org.apache.spark.sql.catalyst.expressions.codegen.{CodegenContext, CodeGenerator, ExprCode}
import org.apache.spark.sql.catalyst.expressions.codegen.Block._
import org.apache.spark.sql.types.DataType

/**
 * What a model computes for a row: projections, one after the other. The last one's only column is the result.
 *
 * They are kept apart rather than nested into one expression: a column that several stages read is computed once, and
 * a query's plan shows one call of the model.
 */
private[sparkml] class Program(steps: Seq[(Seq[Attribute], Seq[Expression])], val dataType: DataType)
  extends Serializable {
  def runner(): Runner =
    new Runner(steps.map { case (input, columns) => MutableProjection.create(columns, input) }, dataType)
}

/** A program that runs, in one thread. */
private[sparkml] class Runner(steps: Seq[MutableProjection], dataType: DataType) {
  private val projections = steps.toArray

  def run(arguments: Array[Any]): Any = {
    var row: InternalRow = new GenericInternalRow(arguments)
    var step = 0
    while (step < projections.length) {
      row = projections(step)(row)
      step += 1
    }
    InternalRow.copyValue(row.get(0, dataType)) // a vector may lie in memory that the next row uses again
  }
}

/** The call of a model in a query. */
private[sparkml] case class SparkMlCall(name: String, program: Program, children: Seq[Expression])
  extends Expression {
  @transient private lazy val runner = program.runner()

  override def nullable: Boolean = true
  override def dataType: DataType = program.dataType
  override def prettyName: String = name
  override def toString: String = children.mkString(s"$name(", ", ", ")")

  override def eval(input: InternalRow): Any = {
    val arguments = children.map(_.eval(input)).toArray
    runner.synchronized(runner.run(arguments)) // a plan on the driver may be shared by threads
  }

  override protected def doGenCode(ctx: CodegenContext, ev: ExprCode): ExprCode = {
    val model = ctx.addReferenceObj("model", program, classOf[Program].getName)
    val state = ctx.addMutableState(classOf[Runner].getName, "runner", name => s"$name = $model.runner();")
    val arguments = ctx.freshName("arguments")
    val result = ctx.freshName("result")
    val values = children.zipWithIndex.map { case (child, index) =>
      val value = child.genCode(ctx)
      s"""${value.code}
         |if (${value.isNull}) { $arguments[$index] = null; } else { $arguments[$index] = ${value.value}; }
         |""".stripMargin
    }
    val fill = ctx.splitExpressionsWithCurrentInputs(values, "arguments", Seq("Object[]" -> arguments))
    ev.copy(code = code"""
      Object[] $arguments = new Object[${children.size}];
      $fill
      Object $result = $state.run($arguments);
      boolean ${ev.isNull} = $result == null;
      ${CodeGenerator.javaType(dataType)} ${ev.value} = ${CodeGenerator.defaultValue(dataType)};
      if (!${ev.isNull}) {
        ${ev.value} = (${CodeGenerator.boxedType(dataType)}) $result;
      }""")
  }

  override protected def withNewChildrenInternal(newChildren: IndexedSeq[Expression]): SparkMlCall =
    copy(children = newChildren)
}
